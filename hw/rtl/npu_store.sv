// STORE unit: writes feature maps from the banks to memory.
//
// The oldest command is decoded while the previous one is in progress. Then its vectors are read
// from the banks into the write engine's buffer, and the byte ranges are requested from that
// engine.
module npu_store #(
  // Vectors that the write engine buffers.
  parameter int unsigned Room = 32
) (
  input  logic                                           clk_i,
  input  logic                                           rst_ni,
  // No further command or request is issued; vectors of a command in progress may still be read.
  input  logic                                           stop_i,
  // The oldest command; `cmd_pop_o` when it is taken.
  input  logic                                           cmd_valid_i,
  input  npu_pkg::transfer_t                             cmd_i,
  input  logic                                           cmd_waits_i,
  output logic                                           cmd_pop_o,
  input  logic               [                     31:0] region_base_i,
  input  logic               [                     31:0] region_bytes_i,
  output logic                                           illegal_o,
  output logic                                           outside_o,
  output logic                                           idle_o,
  // Write requests; a vector left the write engine's buffer.
  output logic                                           req_valid_o,
  input  logic                                           req_ready_i,
  output logic               [                     31:0] req_address_o,
  output logic               [                     15:0] req_beats_o,
  output logic                                           req_last_o,
  input  logic                                           word_popped_i,
  // Feature-map banks.
  output logic                                           st_valid_o,
  input  logic                                           st_ready_i,
  output logic               [     npu_pkg::RowBits-1:0] st_bank_o,
  output logic               [npu_pkg::BankAddrBits-1:0] st_addr_o
);
  localparam int unsigned RoomBits = $clog2(Room) + 1;

  logic decode_done, decode_illegal, decode_outside, contiguous, work, requesting, reading_q;
  logic [15:0] span_beats;
  logic [npu_pkg::BankAddrBits-1:0] plane_address, ring;

  npu_cmd_decode u_cmd_decode (
    .clk_i,
    .rst_ni,
    .valid_i        (cmd_valid_i),
    .cmd_i,
    .taken_i        (cmd_pop_o),
    .region_bytes_i,
    .done_o         (decode_done),
    .illegal_o      (decode_illegal),
    .outside_o      (decode_outside),
    .span_beats_o   (span_beats),
    .contiguous_o   (contiguous),
    .plane_address_o(plane_address),
    .ring_o         (ring)
  );

  // Region 0 is read-only.
  assign work = cmd_i.flags[npu_pkg::TransferFlagWork];
  assign illegal_o = decode_done && decode_illegal && !stop_i;
  assign outside_o = decode_done && !decode_illegal && (decode_outside || !work) && !stop_i;
  assign cmd_pop_o = decode_done && !decode_illegal && !decode_outside && work && !cmd_waits_i &&
      !requesting && !reading_q && !stop_i;

  npu_burst_splitter u_burst_splitter (
    .clk_i,
    .rst_ni      (rst_ni && !stop_i),
    .start_i     (cmd_pop_o),
    .cmd_i,
    .region_base_i,
    .span_beats_i(span_beats),
    .contiguous_i(contiguous),
    .valid_o     (requesting),
    .ready_i     (req_ready_i),
    .address_o   (req_address_o),
    .beats_o     (req_beats_o),
    .last_o      (req_last_o)
  );
  assign req_valid_o = requesting && !stop_i;

  logic step, agen_last;
  logic [RoomBits-1:0] in_flight_q;
  assign st_valid_o = reading_q && in_flight_q != RoomBits'(Room);
  assign step = st_valid_o && st_ready_i;

  npu_addr_gen u_addr_gen (
    .clk_i,
    .start_i        (cmd_pop_o),
    .cmd_i,
    .plane_address_i(plane_address),
    .ring_i         (ring),
    .step_i         (step),
    .bank_o         (st_bank_o),
    .address_o      (st_addr_o),
    .last_o         (agen_last)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      reading_q <= 1'b0;
      in_flight_q <= '0;
    end else begin
      if (cmd_pop_o) reading_q <= 1'b1;
      else if (step && agen_last) reading_q <= 1'b0;
      in_flight_q <= in_flight_q + RoomBits'(step) - RoomBits'(word_popped_i);
    end
  end

  assign idle_o = !cmd_valid_i && !requesting && !reading_q;
endmodule
