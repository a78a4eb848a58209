// npu_fetch: each beat of the stream goes to its command's queue, in order, none lost, duplicated
// or read beyond the stream; unknown and truncated commands are reported; the stream ends in END or
// in a fault.
//
// The stream is arbitrary. One of its beats is marked as it arrives and must leave at its place.
module prove_fetch (
  input logic        clk_i,
  input logic        rst_ni,
  input logic        start_i,
  input logic        stop_i,
  input logic [31:0] stream_address_i,
  input logic [26:0] stream_units_i,
  input logic        req_ready_i,
  input logic        data_valid_i,
  input logic [63:0] data_i,
  input logic [ 2:0] push_ready_i,
  input logic        mark_i
);
  import npu_pkg::*;
  localparam int unsigned Depth = 64;

  logic req_valid, exhausted, illegal;
  logic [31:0] req_address;
  logic [15:0] req_beats;
  logic [2:0] push_valid;
  logic [63:0] push_data;
  logic [26:0] unit;

  npu_fetch u_fetch (
    .clk_i,
    .rst_ni,
    .start_i,
    .stop_i,
    .stream_address_i,
    .stream_units_i,
    .req_valid_o  (req_valid),
    .req_ready_i,
    .req_address_o(req_address),
    .req_beats_o  (req_beats),
    .data_valid_i,
    .data_i,
    .push_valid_o (push_valid),
    .push_ready_i,
    .push_data_o  (push_data),
    .exhausted_o  (exhausted),
    .illegal_o    (illegal),
    .unit_o       (unit)
  );

  logic begun_q = 1'b0;
  logic request, push;
  assign request = req_valid && req_ready_i;
  assign push = (push_valid & push_ready_i) != '0;

  // The stream: address of the next request; beats not yet requested, in flight, buffered, handed
  // on, and left of the current command.
  logic live_q, ended_q, begins_q;
  logic [28:0] to_parse_q;
  logic [31:0] next_q;
  logic [28:0] total_q, requested_q, pushed_q;
  logic [6:0] way_q, stored_q;
  logic [3:0] rest_q;
  logic [1:0] queue_q;
  logic end_q;

  function automatic logic [1:0] queue_of(input logic [7:0] opcode);
    case (opcode)
      OpLoadMap, OpLoadWeights, OpLoadParams, OpLoadTable: return 2'd0;
      OpExec, OpEnd: return 2'd1;
      OpStoreMap: return 2'd2;
      default: return 2'd3;
    endcase
  endfunction
  function automatic logic [3:0] beats_of(input logic [7:0] opcode);
    return opcode == OpExec ? 4'd12 : 4'd4;
  endfunction

  // The marked beat: number of buffered beats ahead of it.
  logic marked_q;
  logic [6:0] ahead_q;
  logic [63:0] data_q;
  logic held_q;
  logic [31:0] held_address_q;
  logic [15:0] held_beats_q;

  // Beats wait behind registers that were free.
  logic moving_q;
  logic [1:0] raised_q;
  // Beats in the three registers.
  logic [1:0] out;
  assign out = 2'(u_fetch.raw_valid_q) + 2'(u_fetch.next_valid_q) + 2'(u_fetch.beat_valid_q);

  logic [1:0] queue;
  assign queue = rest_q == '0 ? queue_of(push_data[7:0]) : queue_q;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    begins_q <= start_i;
    held_q <= req_valid && !req_ready_i;
    held_address_q <= req_address;
    held_beats_q <= req_beats;
    moving_q <= rst_ni && !start_i && stored_q > 7'(push);
    raised_q <= rst_ni && !start_i ? {u_fetch.next_valid_q, u_fetch.raw_valid_q} : '0;
    to_parse_q <= u_fetch.to_parse_q;
    if (request) begin
      next_q <= next_q + {13'b0, req_beats, 3'b0};
      requested_q <= requested_q + 29'(req_beats);
    end
    way_q <= way_q + (request ? req_beats[6:0] : 7'd0) - 7'(data_valid_i);
    stored_q <= stored_q + 7'(data_valid_i) - 7'(push);
    if (push) begin
      pushed_q <= pushed_q + 1'b1;
      if (rest_q == '0) begin
        rest_q <= beats_of(push_data[7:0]) - 1'b1;
        queue_q <= queue;
        end_q <= push_data[7:0] == OpEnd;
      end else begin
        rest_q <= rest_q - 1'b1;
        if (rest_q == 4'd1 && end_q) ended_q <= 1'b1;
      end
    end
    if (marked_q && push) begin
      ahead_q <= ahead_q - 1'b1;
      if (ahead_q == '0) marked_q <= 1'b0;
    end
    if (!marked_q && mark_i && data_valid_i) begin
      marked_q <= 1'b1;
      data_q <= data_i;
      ahead_q <= stored_q - 7'(push);
    end
    if (start_i) begin
      live_q <= 1'b1;
      ended_q <= 1'b0;
      next_q <= stream_address_i;
      total_q <= {stream_units_i, 2'b0};
      requested_q <= '0;
      pushed_q <= '0;
    end
    if (!rst_ni || start_i) begin
      way_q <= '0;
      stored_q <= '0;
      rest_q <= '0;
      end_q <= 1'b0;
      marked_q <= 1'b0;
      held_q <= 1'b0;
    end
    if (!rst_ni) begin
      live_q <= 1'b0;
      ended_q <= 1'b0;
    end
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    // A frame starts after a reset or the end of the previous one, with no beat in flight.
    if (start_i) assume (!live_q || (ended_q && way_q == '0));
    if (way_q == '0) assume (!data_valid_i);

    if (begun_q) begin
      // Requests are consecutive from the stream's address on, end within the stream, and there is
      // room for their beats. Only END withdraws a pending request.
      if (held_q && !stop_i && !end_q && !ended_q)
        assert (req_valid && req_address == held_address_q && req_beats == held_beats_q);
      if (req_valid) begin
        assert (live_q && !stop_i && req_address == next_q && req_beats != '0);
        assert (30'(requested_q) + 30'(req_beats) <= 30'(total_q));
      end
      assert (8'(way_q) + 8'(stored_q) <= 8'(Depth));
      // Each beat goes to one queue, that of its command.
      assert ($onehot0(push_valid));
      if (push_valid != '0) begin
        assert (live_q && !ended_q && stored_q != '0 && queue != 2'd3);
        assert (push_valid == 3'b001 << queue);
        assert (pushed_q < total_q);
        if (rest_q == '0) assert (29'(beats_of(push_data[7:0])) <= total_q - pushed_q);
      end
      if (marked_q && ahead_q == '0 && push_valid != '0) assert (push_data == data_q);
      if (marked_q) assert (ahead_q < stored_q);
      // Buffered beats advance and are handed on, unless a command is unknown: that is reported.
      if (live_q && !ended_q && u_fetch.beat_valid_q) assert (push_valid != '0 || illegal);
      if (moving_q) assert (out != '0);
      if (raised_q[0]) assert (u_fetch.next_valid_q || u_fetch.beat_valid_q);
      if (raised_q[1]) assert (u_fetch.beat_valid_q);
      assert (!(illegal && push_valid != '0));
      if (illegal)
        assert (rest_q == '0 && stored_q != '0 && (queue == 2'd3 || 29'(beats_of(
            push_data[7:0]
        )) > total_q - pushed_q));
      // A stream that runs out without END is reported, and only that.
      if (live_q && !begins_q)
        assert (exhausted == (!ended_q && rest_q == '0 && pushed_q == total_q));
      if (ended_q) assert (!exhausted && !illegal && push_valid == '0);
      assert (unit == pushed_q[28:2] || !live_q);

      // Invariants between the block's registers and the model's, for the induction.
      assert (u_fetch.active_q == (live_q && !ended_q));
      assert (u_fetch.taken_q == 7'(way_q + stored_q) || !u_fetch.active_q);
      assert (8'(u_fetch.u_ahead.count_o) + 8'(out) == 8'(stored_q));
      if (u_fetch.beat_valid_q)
        assert (u_fetch.known_q == (queue_of(
            push_data[7:0]
        ) != 2'd3) && (rest_q != '0 || !u_fetch.known_q || u_fetch.target_q == 3'b001 << queue_of(
            push_data[7:0]
        )) && u_fetch.exec_q == (push_data[7:0] == OpExec) &&
            u_fetch.finish_q == (push_data[7:0] == OpEnd));
      if (u_fetch.want_q)
        assert (u_fetch.active_q && u_fetch.to_request_q != '0 &&
                u_fetch.taken_q <= 7'(Depth - 16) &&
                29'(req_beats) == (u_fetch.to_request_q < 29'd16 ? u_fetch.to_request_q : 29'd16));
      // Whether a command fits depends on what was left one cycle ago; commands and streams are
      // whole units.
      assert (u_fetch.first_q == (rest_q == '0));
      if (live_q) assert (2'(u_fetch.to_parse_q) == rest_q[1:0]);
      if (live_q && !begins_q)
        assert (u_fetch.fits_short_q == (to_parse_q >= 29'd4) && u_fetch.fits_long_q ==
                (to_parse_q >= 29'd12) && to_parse_q - u_fetch.to_parse_q <= 29'd1 &&
                (rest_q != '0 || to_parse_q[1:0] <= 2'd1));
      if (begins_q) assert (out == '0 && stored_q <= 7'd1);
      assert (u_fetch.left_q == rest_q);
      if (rest_q != '0) assert (u_fetch.target_q == 3'b001 << queue_q && queue_q != 2'd3 && live_q);
      if (rest_q != '0)
        assert (u_fetch.end_q == end_q && 29'(rest_q) <= total_q - pushed_q && !ended_q);
      if (live_q) begin
        assert (u_fetch.to_parse_q == total_q - pushed_q && pushed_q <= requested_q &&
                requested_q <= total_q);
        assert (requested_q == pushed_q + 29'(way_q) + 29'(stored_q));
        assert (u_fetch.to_request_q == total_q - requested_q || u_fetch.to_request_q == '0);
        if (u_fetch.active_q && u_fetch.to_request_q != '0)
          assert (u_fetch.address_q == next_q && !(rest_q != '0 && end_q));
        assert (u_fetch.unit_beat_q == pushed_q[1:0] && u_fetch.unit_q == pushed_q[28:2]);
      end else assert (way_q == '0 && stored_q == '0);
      if (marked_q) begin
        if (u_fetch.beat_valid_q && ahead_q == '0)
          assert (u_fetch.beat_q == data_q);
          else if (u_fetch.next_valid_q && ahead_q == 7'(u_fetch.beat_valid_q))
            assert (u_fetch.next_q == data_q);
            else if (u_fetch.raw_valid_q &&
                     ahead_q == 7'(u_fetch.beat_valid_q) + 7'(u_fetch.next_valid_q))
              assert (u_fetch.raw_q == data_q);
              else
                assert (u_fetch.u_ahead.mem[6'(u_fetch.u_ahead.read_q[5:0]+ahead_q[5:0]-6'(out))] ==
                        data_q);
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (ended_q && pushed_q == 29'd8);
      cover (illegal && pushed_q == 29'd4);
      cover (exhausted && total_q == 29'd4 && pushed_q != '0);
    end
  end
endmodule
