// npu_burst_splitter: a transfer that npu_cmd_decode accepts requests its channels' bytes in order,
// each once, and nothing outside its region.
//
// The model knows of the product (channels − 1) × pitch only what `product` proves: with one
// channel less it is less by the pitch, and it is zero for one channel.
module prove_burst_splitter (
  input logic                      clk_i,
  input logic                      rst_ni,
  input logic                      start_i,
  input npu_pkg::transfer_t        cmd_i,
  input logic               [31:0] region_base_i,
  input logic               [31:0] region_bytes_i,
  // Channels before the last times pitch; bytes of a channel (see prove_cmd_decode).
  input logic               [47:0] span_i,
  input logic               [20:0] bytes_i,
  input logic                      contiguous_i,
  input logic                      ready_i
);
  import npu_pkg::*;

  logic valid, last, is_map;
  logic [31:0] address;
  logic [15:0] beats, span_beats;
  assign span_beats = 16'((span_i + 48'(bytes_i)) / 48'd8);
  assign is_map = cmd_i.opcode == OpLoadMap || cmd_i.opcode == OpStoreMap;

  npu_burst_splitter u_burst_splitter (
    .clk_i,
    .rst_ni,
    .start_i,
    .cmd_i,
    .region_base_i,
    .span_beats_i(span_beats),
    .contiguous_i,
    .valid_o     (valid),
    .ready_i,
    .address_o   (address),
    .beats_o     (beats),
    .last_o      (last)
  );

  logic begun_q = 1'b0;
  // The transfer; offset of its next request in the region; the part of the product and the
  // requests that are still to come.
  logic contiguous_q;
  logic [31:0] base_q, size_q, pitch_q;
  logic [20:0] bytes_q;
  logic [49:0] offset_q, end_q;
  logic [47:0] rest_q;
  logic [15:0] left_q;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    if (start_i) begin
      contiguous_q <= contiguous_i;
      base_q <= region_base_i;
      size_q <= region_bytes_i;
      pitch_q <= cmd_i.pitch;
      bytes_q <= bytes_i;
      offset_q <= 50'(cmd_i.address);
      end_q <= 50'(cmd_i.address) + 50'(span_i) + 50'(bytes_i);
      rest_q <= span_i;
      left_q <= contiguous_i ? 16'd1 : cmd_i.count;
    end else if (valid && ready_i) begin
      offset_q <= offset_q + 50'(pitch_q);
      rest_q <= rest_q - 48'(pitch_q);
      left_q <= left_q - 16'd1;
    end
    if (!rst_ni) left_q <= '0;
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    // Transfers follow one another, each as npu_cmd_decode accepts it.
    if (start_i) begin
      assume (!valid);
      assume (50'(cmd_i.address) + 50'(span_i) + 50'(bytes_i) <= 50'(region_bytes_i) &&
              cmd_i.address[2:0] == '0);
      assume (33'(region_base_i) + 33'(region_bytes_i) <= 33'h1_0000_0000);
      assume (contiguous_i || (is_map && cmd_i.count > 16'd1 && cmd_i.words != '0 &&
                               cmd_i.words <= 16'(BankWords)));
      if (is_map) assume (bytes_i == 21'(cmd_i.words) * 21'(Lanes));
    end
    // Properties of products.
    if (left_q > 16'd1) assume (rest_q >= 48'(pitch_q));
    if (left_q == 16'd1 && !contiguous_q) assume (rest_q == '0);

    if (begun_q) begin
      assert (valid == (left_q != '0));
      if (valid) begin
        assert (address == base_q + offset_q[31:0]);
        assert (offset_q + 50'({beats, 3'b0}) <= 50'(size_q));
        assert (last == (left_q == 16'd1));
        // One request for all channels, or one per channel.
        assert (contiguous_q ?
                beats == 16'((rest_q + 48'(bytes_q)) / 48'd8) : {beats, 3'b0} == 19'(bytes_q));

        // Invariants for the induction.
        assert (offset_q + 50'(rest_q) + 50'(bytes_q) == end_q && end_q <= 50'(size_q));
        assert (u_burst_splitter.left_q == left_q && u_burst_splitter.pitch_q == pitch_q);
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
