// Reads the command stream ahead and distributes its commands to the three queues, up to END.
module npu_fetch (
  input  logic             clk,
  input  logic             rst,
  // Begins a stream; what an old one left is forgotten.
  input  logic             start,
  // Nothing more is requested; beats that are there go on to queues, where they stay.
  input  logic             stop,
  input  logic [31:0]      stream_address,
  input  logic [26:0]      stream_units,
  // Reads: beats of 8 bytes, in order.
  output logic             req_valid,
  input  logic             req_ready,
  output logic [31:0]      req_address,
  output logic [15:0]      req_beats,
  input  logic             data_valid,
  input  logic [63:0]      data,
  // LOAD, EXEC and STORE queue.
  output logic [2:0]       push_valid,
  input  logic [2:0]       push_ready,
  output logic [63:0]      push_data,
  // The stream is over without END.
  output logic             exhausted,
  // A command is unknown or breaks off.
  output logic             illegal,
  // Unit of the command that is read.
  output logic [26:0]      unit
);
  localparam int unsigned Depth = 64;
  localparam int unsigned Chunk = 16;
  localparam int unsigned CountBits = $clog2(Depth) + 1;

  logic        active_q, beat_ready;

  // Requested and not yet handed on. A request is made up a cycle before it is shown.
  logic [CountBits-1:0] taken_q;
  logic [31:0] address_q;
  logic [28:0] to_request_q, to_parse_q;
  logic [15:0] beats_q;
  logic        want_q, request;

  assign req_valid   = want_q && !stop;
  assign req_address = address_q;
  assign req_beats   = beats_q;
  assign request     = req_valid && req_ready;

  logic        ahead_valid, raw_valid_q, next_valid_q, beat_valid_q, shift, step, refill;
  logic [63:0] ahead, raw_q, next_q, beat_q;

  npu_fifo #(.Width(64), .Depth(Depth)) u_ahead (
    .clk, .rst(rst || start),
    .push_valid(data_valid), .push_ready(), .push_data(data),
    .pop_valid(ahead_valid), .pop_ready(shift), .pop_data(ahead),
    .count()
  );

  // Three registers: that of block RAM, which is late, one behind it, and the last, which also says whose
  // the beat is: that of the lowest byte where a command begins with it. The first one does not look at what
  // the queues take in the same cycle, and so two beats leave in three cycles.
  logic       known_q, exec_q, finish_q, begins;
  logic [2:0] target_q;
  assign refill = !beat_valid_q || beat_ready;
  assign step   = !next_valid_q || refill;
  assign shift  = !raw_valid_q || !next_valid_q;
  always_ff @(posedge clk) begin
    if (shift) raw_q <= ahead;
    if (shift) raw_valid_q <= ahead_valid;
    else if (step) raw_valid_q <= 1'b0;
    if (step) begin
      next_valid_q <= raw_valid_q;
      next_q       <= raw_q;
    end
    if (refill) begin
      beat_valid_q <= next_valid_q;
      beat_q       <= next_q;
      exec_q       <= next_q[7:0] == npu_pkg::OpExec;
      finish_q     <= next_q[7:0] == npu_pkg::OpEnd;
      known_q      <= 1'b1;
      case (next_q[7:0])
        npu_pkg::OpLoadMap, npu_pkg::OpLoadWeights, npu_pkg::OpLoadParams, npu_pkg::OpLoadTable:
          if (begins) target_q <= 3'b001;
        npu_pkg::OpExec, npu_pkg::OpEnd: if (begins) target_q <= 3'b010;
        npu_pkg::OpStoreMap: if (begins) target_q <= 3'b100;
        default: known_q <= 1'b0;
      endcase
    end
    if (rst || start) begin
      raw_valid_q  <= 1'b0;
      next_valid_q <= 1'b0;
      beat_valid_q <= 1'b0;
    end
  end

  // The command under way. A stream and its commands are whole units of four beats: where a command
  // begins, what was left a cycle ago tells as well whether it fits.
  localparam int unsigned Short = npu_pkg::TransferBits / 64;
  localparam int unsigned Long = npu_pkg::ExecBits / 64;
  logic [3:0] left_q;
  logic       first_q, fits_short_q, fits_long_q, sound, offer;

  // The beat behind the last register is a command's first.
  assign begins = beat_valid_q ? left_q == 4'd1 : first_q;
  assign sound = !first_q || (known_q && (exec_q ? fits_long_q : fits_short_q));
  assign offer = active_q && beat_valid_q && sound;

  assign push_data  = beat_q;
  assign push_valid = target_q & {3{offer}};
  assign beat_ready = offer && (target_q & push_ready) != '0;
  assign illegal    = active_q && beat_valid_q && !sound;
  assign exhausted  = active_q && first_q && !fits_short_q;

  logic [26:0] unit_q;
  logic [1:0]  unit_beat_q;
  // The command under way is END.
  logic        end_q;
  assign unit = unit_q;

  always_ff @(posedge clk) begin
    if (rst) begin
      active_q     <= 1'b0;
      want_q       <= 1'b0;
      fits_short_q <= 1'b1;
      fits_long_q  <= 1'b1;
      first_q      <= 1'b1;
      taken_q      <= '0;
      left_q       <= '0;
      to_request_q <= '0;
      to_parse_q   <= '0;
      unit_q       <= '0;
      unit_beat_q  <= '0;
    end else if (start) begin
      active_q     <= 1'b1;
      want_q       <= 1'b0;
      fits_short_q <= 1'b1;
      fits_long_q  <= 1'b1;
      first_q      <= 1'b1;
      taken_q      <= '0;
      left_q       <= '0;
      address_q    <= stream_address;
      to_request_q <= {stream_units, 2'b0};
      to_parse_q   <= {stream_units, 2'b0};
      unit_q       <= '0;
      unit_beat_q  <= '0;
    end else begin
      // What waits to be taken stays as it is.
      if (!want_q) begin
        want_q  <= active_q && to_request_q != '0 && taken_q <= CountBits'(Depth - Chunk);
        beats_q <= to_request_q < 29'(Chunk) ? to_request_q[15:0] : 16'(Chunk);
      end else if (request) want_q <= 1'b0;
      fits_short_q <= to_parse_q >= 29'(Short);
      fits_long_q  <= to_parse_q >= 29'(Long);
      taken_q <= taken_q + (request ? CountBits'(req_beats) : '0) - CountBits'(beat_ready);
      if (request) begin
        address_q    <= address_q + {13'b0, req_beats, 3'b0};
        to_request_q <= to_request_q - 29'(req_beats);
      end
      if (beat_ready) begin
        to_parse_q  <= to_parse_q - 1'b1;
        unit_beat_q <= unit_beat_q + 1'b1;
        if (unit_beat_q == '1) unit_q <= unit_q + 1'b1;
        left_q  <= first_q ? (exec_q ? 4'(Long - 1) : 4'(Short - 1)) : left_q - 1'b1;
        first_q <= left_q == 4'd1;
        if (first_q && finish_q) begin
          to_request_q <= '0;
          want_q       <= 1'b0;
        end
        // Behind END nothing is read.
        if (left_q == 4'd1 && end_q) active_q <= 1'b0;
      end
    end
  end

  always_ff @(posedge clk) begin
    if (rst || start) end_q <= 1'b0;
    else if (beat_ready && first_q) end_q <= finish_q;
  end
endmodule
