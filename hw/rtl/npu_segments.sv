// Splits a transfer into runs of neighbouring bytes: one a channel, or one for all. Beats have 8 bytes.
module npu_segments (
  input  logic               clk,
  input  logic               rst,
  input  logic               start,
  input  npu_pkg::transfer_t cmd,
  input  logic [31:0]        region_base,
  input  logic [15:0]        span_beats,
  input  logic               contiguous,
  output logic               valid,
  input  logic               ready,
  output logic [31:0]        address,
  output logic [15:0]        beats,
  output logic               last
);
  logic        active_q;
  logic [31:0] address_q, pitch_q;
  logic [15:0] beats_q, left_q;

  assign valid   = active_q;
  assign address = address_q;
  assign beats   = beats_q;
  assign last    = left_q == 16'd1;

  always_ff @(posedge clk) begin
    if (rst) begin
      active_q <= 1'b0;
    end else if (start) begin
      active_q <= 1'b1;
    end else if (active_q && ready && last) begin
      active_q <= 1'b0;
    end
  end

  always_ff @(posedge clk) begin
    if (start) begin
      address_q <= region_base + cmd.address;
      pitch_q   <= cmd.pitch;
      left_q    <= contiguous ? 16'd1 : cmd.count;
      beats_q   <= contiguous ? span_beats : 16'(cmd.words * 32'(npu_pkg::Lanes / 8));
    end else if (active_q && ready) begin
      address_q <= address_q + pitch_q;
      left_q    <= left_q - 1'b1;
    end
  end
endmodule
