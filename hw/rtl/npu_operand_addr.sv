// Addresses of the vectors that the sequencer fetches.
//
// Units: pixels for rows and columns. Five stages from `step_i` to `bank_addr_o`, then one register
// at each bank and the bank's own:
//    f = row · in_w + column,   word = f / Lanes + step.word,   offset = f mod Lanes
// `data_step_o` accompanies the bank's data; the `early_` outputs precede it by one stage.

module npu_operand_addr (
  input  logic                                            clk_i,
  input  logic                                            rst_ni,
  input  npu_pkg::exec_t                                  commands_i    [2],
  input  npu_core_pkg::step_t                             step_i,
  output logic                [npu_pkg::BankAddrBits-1:0] bank_addr_o,
  output npu_core_pkg::step_t                             early_step_o,
  // Offset of lane 0's pixel within the first vector.
  output logic                [    npu_pkg::LaneBits-1:0] early_offset_o,
  output npu_core_pkg::step_t                             data_step_o
);

  // Steps of stages 1 to 7; offsets of stages 3 to 6.
  npu_core_pkg::step_t [7:1] step_q;
  logic [6:3][npu_pkg::LaneBits-1:0] offset_q;
  logic signed [23:0] address_q;
  logic signed [24:0] product_q;
  npu_multiply #(
    .ABits(13),
    .BBits(12)
  ) u_row (
    .clk_i,
    .a_i      (step_i.row),
    .b_i      ({1'b0, commands_i[step_i.fetch_ctx].in_w[10:0]}),
    .product_o(product_q)
  );

  always_ff @(posedge clk_i) begin
    step_q <= {step_q[6:1], step_i};
    // The sequencer counts channels from the command's first; other modes than dense ignore the low
    // bits.
    step_q[1].channel <= step_i.channel + commands_i[step_i.fetch_ctx].in_origin[12:0];
    if (!rst_ni) step_q <= '0;
    offset_q <= {offset_q[5:3], address_q[npu_pkg::LaneBits-1:0]};
    address_q <= product_q[23:0] + 24'(step_q[1].column);
  end

  npu_core_pkg::word_t word;
  assign word = 20'(address_q >>> npu_pkg::LaneBits) + 20'(step_q[2].word);

  npu_core_pkg::layout_t layouts[2];
  always_comb begin
    for (int unsigned i = 0; i < 2; i++) begin
      layouts[i].base = commands_i[i].in_base;
      layouts[i].plane = commands_i[i].in_plane;
      layouts[i].w_first = commands_i[i].in_w_first;
      layouts[i].pos_first = commands_i[i].in_pos_first;
    end
  end

  npu_addr_translate u_addr_translate (
    .clk_i,
    .layouts_i(layouts),
    .ctx_i    (step_q[2].fetch_ctx),
    .channel_i(step_q[2].channel),
    .word_i   (word),
    .bank_o   (),
    .addr_o   (bank_addr_o)
  );

  assign early_step_o = step_q[6];
  assign early_offset_o = offset_q[6];
  assign data_step_o = step_q[7];

endmodule
