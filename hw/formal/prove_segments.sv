// npu_segments: a transfer that npu_prepare let pass asks for its channels' bytes, in order, each once, and
// for nothing outside its region.
//
// Of the product (channels − 1) × pitch the model knows what `product` proves: without the last channel left
// it is less by the pitch, and nothing where one channel is left.
module prove_segments (
  input logic               clk,
  input logic               rst,
  input logic               start,
  input npu_pkg::transfer_t cmd,
  input logic [31:0]        region_base,
  input logic [31:0]        region_bytes,
  // Channels before the last times pitch, bytes of a channel (see prove_prepare).
  input logic [47:0]        span,
  input logic [20:0]        bytes,
  input logic               contiguous,
  input logic               ready
);
  import npu_pkg::*;

  logic        valid, last, is_map;
  logic [31:0] address;
  logic [15:0] beats, span_beats;
  assign span_beats = 16'((span + 48'(bytes)) / 48'd8);
  assign is_map     = cmd.opcode == OpLoadMap || cmd.opcode == OpStoreMap;

  npu_segments u_segments (.*);

  logic begun_q = 1'b0;
  // The transfer; where its next request lies in the region, what of the product is still to come, requests
  // still to come.
  logic        contiguous_q;
  logic [31:0] base_q, size_q, pitch_q;
  logic [20:0] bytes_q;
  logic [49:0] offset_q, end_q;
  logic [47:0] rest_q;
  logic [15:0] left_q;

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    if (start) begin
      contiguous_q <= contiguous;
      base_q       <= region_base;
      size_q       <= region_bytes;
      pitch_q      <= cmd.pitch;
      bytes_q      <= bytes;
      offset_q     <= 50'(cmd.address);
      end_q        <= 50'(cmd.address) + 50'(span) + 50'(bytes);
      rest_q       <= span;
      left_q       <= contiguous ? 16'd1 : cmd.count;
    end else if (valid && ready) begin
      offset_q <= offset_q + 50'(pitch_q);
      rest_q   <= rest_q - 48'(pitch_q);
      left_q   <= left_q - 16'd1;
    end
    if (rst) left_q <= '0;
  end

  always_comb begin
    if (!begun_q) assume (rst);
    // One transfer after the other, each as npu_prepare lets it pass.
    if (start) begin
      assume (!valid);
      assume (50'(cmd.address) + 50'(span) + 50'(bytes) <= 50'(region_bytes) && cmd.address[2:0] == '0);
      assume (33'(region_base) + 33'(region_bytes) <= 33'h1_0000_0000);
      assume (contiguous || (is_map && cmd.count > 16'd1 && cmd.words != '0 && cmd.words <= 16'(BankWords)));
      if (is_map) assume (bytes == 21'(cmd.words) * 21'(Lanes));
    end
    // What products are.
    if (left_q > 16'd1) assume (rest_q >= 48'(pitch_q));
    if (left_q == 16'd1 && !contiguous_q) assume (rest_q == '0);

    if (begun_q) begin
      assert (valid == (left_q != '0));
      if (valid) begin
        assert (address == base_q + offset_q[31:0]);
        assert (offset_q + 50'({beats, 3'b0}) <= 50'(size_q));
        assert (last == (left_q == 16'd1));
        // One request for all channels, or one a channel.
        assert (contiguous_q ? beats == 16'((rest_q + 48'(bytes_q)) / 48'd8) : {beats, 3'b0} == 19'(bytes_q));

        // What the induction needs.
        assert (offset_q + 50'(rest_q) + 50'(bytes_q) == end_q && end_q <= 50'(size_q));
        assert (u_segments.left_q == left_q && u_segments.pitch_q == pitch_q);
        assert (!contiguous_q || left_q == 16'd1);
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (valid && left_q == 16'd1 && offset_q == 50'd4096 && !contiguous_q);
      cover (valid && contiguous_q && beats > 16'd64);
    end
  end
endmodule
