// Fetches the command stream ahead of time and distributes its commands to the three queues, up to
// END.
//
// Units: stream addresses are bytes, `unit` counts 32-byte units, beats are 8 bytes.
module npu_fetch (
  input  logic        clk_i,
  input  logic        rst_ni,
  // Starts a stream; whatever a previous stream left is discarded.
  input  logic        start_i,
  // No further beat is requested; beats that are buffered still go to the queues.
  input  logic        stop_i,
  input  logic [31:0] stream_address_i,
  input  logic [26:0] stream_units_i,
  // Read requests and their beats, in order.
  output logic        req_valid_o,
  input  logic        req_ready_i,
  output logic [31:0] req_address_o,
  output logic [15:0] req_beats_o,
  input  logic        data_valid_i,
  input  logic [63:0] data_i,
  // LOAD, EXEC and STORE queue.
  output logic [ 2:0] push_valid_o,
  input  logic [ 2:0] push_ready_i,
  output logic [63:0] push_data_o,
  // The stream ended without END.
  output logic        exhausted_o,
  // A command is unknown or truncated.
  output logic        illegal_o,
  // Unit number of the command that is being read.
  output logic [26:0] unit_o
);
  localparam int unsigned Depth = 64;
  localparam int unsigned Chunk = 16;
  localparam int unsigned CountBits = $clog2(Depth) + 1;

  logic active_q, beat_ready;

  // Beats that are requested and not yet handed on. A request is computed one cycle before it is
  // shown.
  logic [CountBits-1:0] taken_q;
  logic [31:0] address_q;
  logic [28:0] to_request_q, to_parse_q;
  logic [15:0] beats_q;
  logic want_q, request;

  assign req_valid_o = want_q && !stop_i;
  assign req_address_o = address_q;
  assign req_beats_o = beats_q;
  assign request = req_valid_o && req_ready_i;

  logic ahead_valid, raw_valid_q, next_valid_q, beat_valid_q, shift, step, refill;
  logic [63:0] ahead, raw_q, next_q, beat_q;

  npu_fifo #(
    .Width(64),
    .Depth(Depth)
  ) u_ahead (
    .clk_i,
    .rst_ni      (rst_ni && !start_i),
    .push_valid_i(data_valid_i),
    .push_ready_o(),
    .push_data_i (data_i),
    .pop_valid_o (ahead_valid),
    .pop_ready_i (shift),
    .pop_data_o  (ahead),
    .count_o     ()
  );

  // Three registers follow the buffer: the output register of block RAM, which has a slow
  // clock-to-out, one behind it, and the last, which is stored together with its target queue: that
  // of the lowest byte where a command starts with the beat. The first register ignores whether the
  // queues accept a beat in the same cycle, so two beats leave in three cycles.
  logic known_q, exec_q, finish_q, begins;
  logic [2:0] target_q;
  assign refill = !beat_valid_q || beat_ready;
  assign step = !next_valid_q || refill;
  assign shift = !raw_valid_q || !next_valid_q;
  always_ff @(posedge clk_i) begin
    if (shift) raw_q <= ahead;
    if (shift) raw_valid_q <= ahead_valid;
    else if (step) raw_valid_q <= 1'b0;
    if (step) begin
      next_valid_q <= raw_valid_q;
      next_q <= raw_q;
    end
    if (refill) begin
      beat_valid_q <= next_valid_q;
      beat_q <= next_q;
      exec_q <= next_q[7:0] == npu_pkg::OpExec;
      finish_q <= next_q[7:0] == npu_pkg::OpEnd;
      known_q <= 1'b1;
      case (next_q[7:0])
        npu_pkg::OpLoadMap, npu_pkg::OpLoadWeights, npu_pkg::OpLoadParams, npu_pkg::OpLoadTable:
        if (begins) target_q <= 3'b001;
        npu_pkg::OpExec, npu_pkg::OpEnd: if (begins) target_q <= 3'b010;
        npu_pkg::OpStoreMap: if (begins) target_q <= 3'b100;
        default: known_q <= 1'b0;
      endcase
    end
    if (!rst_ni || start_i) begin
      raw_valid_q <= 1'b0;
      next_valid_q <= 1'b0;
      beat_valid_q <= 1'b0;
    end
  end

  // The command that is being handed on. Streams and commands are whole units of four beats, so the
  // count of the previous cycle tells as well whether a command fits in the stream.
  localparam int unsigned Short = npu_pkg::TransferBits / 64;
  localparam int unsigned Long = npu_pkg::ExecBits / 64;
  logic [3:0] left_q;
  logic first_q, fits_short_q, fits_long_q, sound, offer;

  // The beat behind the last register is the first one of a command.
  assign begins = beat_valid_q ? left_q == 4'd1 : first_q;
  assign sound = !first_q || (known_q && (exec_q ? fits_long_q : fits_short_q));
  assign offer = active_q && beat_valid_q && sound;

  assign push_data_o = beat_q;
  assign push_valid_o = target_q & {3{offer}};
  assign beat_ready = offer && (target_q & push_ready_i) != '0;
  assign illegal_o = active_q && beat_valid_q && !sound;
  assign exhausted_o = active_q && first_q && !fits_short_q;

  logic [26:0] unit_q;
  logic [1:0] unit_beat_q;
  // The command that is being handed on is END.
  logic end_q;
  assign unit_o = unit_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      active_q <= 1'b0;
      want_q <= 1'b0;
      fits_short_q <= 1'b1;
      fits_long_q <= 1'b1;
      first_q <= 1'b1;
      taken_q <= '0;
      left_q <= '0;
      to_request_q <= '0;
      to_parse_q <= '0;
      unit_q <= '0;
      unit_beat_q <= '0;
    end else if (start_i) begin
      active_q <= 1'b1;
      want_q <= 1'b0;
      fits_short_q <= 1'b1;
      fits_long_q <= 1'b1;
      first_q <= 1'b1;
      taken_q <= '0;
      left_q <= '0;
      address_q <= stream_address_i;
      to_request_q <= {stream_units_i, 2'b0};
      to_parse_q <= {stream_units_i, 2'b0};
      unit_q <= '0;
      unit_beat_q <= '0;
    end else begin
      // A pending request stays unchanged.
      if (!want_q) begin
        want_q <= active_q && to_request_q != '0 && taken_q <= CountBits'(Depth - Chunk);
        beats_q <= to_request_q < 29'(Chunk) ? to_request_q[15:0] : 16'(Chunk);
      end else if (request) want_q <= 1'b0;
      fits_short_q <= to_parse_q >= 29'(Short);
      fits_long_q <= to_parse_q >= 29'(Long);
      taken_q <= taken_q + (request ? CountBits'(req_beats_o) : '0) - CountBits'(beat_ready);
      if (request) begin
        address_q <= address_q + {13'b0, req_beats_o, 3'b0};
        to_request_q <= to_request_q - 29'(req_beats_o);
      end
      if (beat_ready) begin
        to_parse_q <= to_parse_q - 1'b1;
        unit_beat_q <= unit_beat_q + 1'b1;
        if (unit_beat_q == '1) unit_q <= unit_q + 1'b1;
        left_q <= first_q ? (exec_q ? 4'(Long - 1) : 4'(Short - 1)) : left_q - 1'b1;
        first_q <= left_q == 4'd1;
        if (first_q && finish_q) begin
          to_request_q <= '0;
          want_q <= 1'b0;
        end
        // Nothing is read after END.
        if (left_q == 4'd1 && end_q) active_q <= 1'b0;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || start_i) end_q <= 1'b0;
    else if (beat_ready && first_q) end_q <= finish_q;
  end
endmodule
