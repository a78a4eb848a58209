// Burst splitter: turns a transfer into requests for runs of consecutive bytes, one per channel, or
// one for all channels where the pitch leaves no gaps.
//
// Units: addresses and `pitch` are bytes, beats are 8 bytes. Request n of a transfer:
//    address = region base + address + n · pitch, beats = words · Lanes / 8
module npu_burst_splitter (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      start_i,
  input  npu_pkg::transfer_t        cmd_i,
  input  logic               [31:0] region_base_i,
  input  logic               [15:0] span_beats_i,
  input  logic                      contiguous_i,
  output logic                      valid_o,
  input  logic                      ready_i,
  output logic               [31:0] address_o,
  output logic               [15:0] beats_o,
  output logic                      last_o
);
  logic active_q;
  logic [31:0] address_q, pitch_q;
  logic [15:0] beats_q, left_q;

  assign valid_o = active_q;
  assign address_o = address_q;
  assign beats_o = beats_q;
  assign last_o = left_q == 16'd1;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      active_q <= 1'b0;
    end else if (start_i) begin
      active_q <= 1'b1;
    end else if (active_q && ready_i && last_o) begin
      active_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      address_q <= region_base_i + cmd_i.address;
      pitch_q <= cmd_i.pitch;
      left_q <= contiguous_i ? 16'd1 : cmd_i.count;
      beats_q <= contiguous_i ? span_beats_i : 16'(cmd_i.words * 32'(npu_pkg::Lanes / 8));
    end else if (active_q && ready_i) begin
      address_q <= address_q + pitch_q;
      left_q <= left_q - 1'b1;
    end
  end
endmodule
