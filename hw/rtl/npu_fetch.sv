// Reads the command stream ahead and distributes its commands to the three queues, up to END.
module npu_fetch (
  input  logic             clk,
  input  logic             rst,
  // Begins a stream; what an old one left is forgotten.
  input  logic             start,
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

  logic        beat_valid, beat_ready;
  logic [63:0] beat;
  logic        active_q;

  // Requested and not yet handed on.
  logic [CountBits-1:0] taken_q;
  logic [31:0] address_q;
  logic [28:0] to_request_q, to_parse_q;
  logic        request;

  assign req_valid   = active_q && to_request_q != '0 && taken_q <= CountBits'(Depth - Chunk) && !stop;
  assign req_address = address_q;
  assign req_beats   = to_request_q < 29'(Chunk) ? to_request_q[15:0] : 16'(Chunk);
  assign request     = req_valid && req_ready;

  npu_fifo #(.Width(64), .Depth(Depth)) u_ahead (
    .clk, .rst(rst || start),
    .push_valid(data_valid), .push_ready(), .push_data(data),
    .pop_valid(beat_valid), .pop_ready(beat_ready), .pop_data(beat),
    .count()
  );

  // The command under way.
  logic [3:0] left_q;
  logic [1:0] queue_q;
  logic       first, known;
  logic [1:0] queue;
  logic [3:0] beats;

  assign first = left_q == '0;

  always_comb begin
    known = 1'b1;
    queue = 2'd0;
    beats = 4'(npu_pkg::TransferBits / 64);
    case (beat[7:0])
      npu_pkg::OpLoadMap, npu_pkg::OpLoadWeights, npu_pkg::OpLoadParams, npu_pkg::OpLoadTable: queue = 2'd0;
      npu_pkg::OpExec: begin
        queue = 2'd1;
        beats = 4'(npu_pkg::ExecBits / 64);
      end
      npu_pkg::OpEnd: queue = 2'd1;
      npu_pkg::OpStoreMap: queue = 2'd2;
      default: known = 1'b0;
    endcase
    if (!first) begin
      known = 1'b1;
      queue = queue_q;
    end
  end

  logic fits, offer;
  assign fits  = !first || 29'(beats) <= to_parse_q;
  assign offer = active_q && beat_valid && known && fits && !stop;

  assign push_data  = beat;
  assign push_valid = offer ? 3'b001 << queue : 3'b000;
  assign beat_ready = offer && push_ready[queue];
  assign illegal    = active_q && first && beat_valid && (!known || !fits);
  assign exhausted  = active_q && first && to_parse_q == '0;

  logic [26:0] unit_q;
  logic [1:0]  unit_beat_q;
  // The command under way is END.
  logic        end_q;
  assign unit = unit_q;

  always_ff @(posedge clk) begin
    if (rst) begin
      active_q     <= 1'b0;
      taken_q      <= '0;
      left_q       <= '0;
      to_request_q <= '0;
      to_parse_q   <= '0;
      unit_q       <= '0;
      unit_beat_q  <= '0;
    end else if (start) begin
      active_q     <= 1'b1;
      taken_q      <= '0;
      left_q       <= '0;
      address_q    <= stream_address;
      to_request_q <= {stream_units, 2'b0};
      to_parse_q   <= {stream_units, 2'b0};
      unit_q       <= '0;
      unit_beat_q  <= '0;
    end else begin
      taken_q <= taken_q + (request ? CountBits'(req_beats) : '0) - CountBits'(beat_ready);
      if (request) begin
        address_q    <= address_q + {13'b0, req_beats, 3'b0};
        to_request_q <= to_request_q - 29'(req_beats);
      end
      if (beat_ready) begin
        to_parse_q  <= to_parse_q - 1'b1;
        unit_beat_q <= unit_beat_q + 1'b1;
        if (unit_beat_q == '1) unit_q <= unit_q + 1'b1;
        left_q <= (first ? beats : left_q) - 1'b1;
        if (first) begin
          queue_q <= queue;
          if (beat[7:0] == npu_pkg::OpEnd) to_request_q <= '0;
        end
        // Behind END nothing is read.
        if (left_q == 4'd1 && end_q) active_q <= 1'b0;
      end
    end
  end

  always_ff @(posedge clk) begin
    if (rst || start) end_q <= 1'b0;
    else if (beat_ready && first) end_q <= beat[7:0] == npu_pkg::OpEnd;
  end
endmodule
