// Addresses of the words that the sequencer fetches: five stages from step to bank address, then a register at
// each bank and the bank's own. `data_step` accompanies the bank's data; what is early goes one stage before it.

module npu_operand_address (
    input  logic                                              clk,
    input  logic                                              rst,
    input  npu_pkg::exec_t commands[2],
    input  npu_core_pkg::step_t                               step,
    output logic                 [npu_pkg::BankAddrBits-1:0] bank_addr,
    output npu_core_pkg::step_t                               early_step,
    // Place of lane 0 within the first word, and its input pixel.
    output logic                 [      npu_pkg::LaneBits-1:0] early_offset,
    output npu_core_pkg::step_t                               data_step
);

  // Steps 1 to 7; the offset of stages 3 to 6.
  npu_core_pkg::step_t [7:1] step_q;
  logic [6:3][npu_pkg::LaneBits-1:0] offset_q;
  logic signed [23:0] address_q;
  logic signed [24:0] product_q;
  npu_multiply #(
      .ABits(13),
      .BBits(12)
  ) u_row (
      .clk,
      .a(step.row),
      .b({1'b0, commands[step.fetch_side].in_w[10:0]}),
      .product_q
  );

  always_ff @(posedge clk) begin
    step_q <= {step_q[6:1], step};
    // The sequencer counts channels of the command; in modes other than dense their low bits are idle.
    step_q[1].channel <= step.channel + commands[step.fetch_side].in_origin[12:0];
    if (rst) step_q <= '0;
    offset_q <= {offset_q[5:3], address_q[npu_pkg::LaneBits-1:0]};
    address_q <= product_q[23:0] + 24'(step_q[1].column);
  end

  npu_core_pkg::word_t word;
  assign word = 20'(address_q >>> npu_pkg::LaneBits) + 20'(step_q[2].word);

  npu_core_pkg::place_t places[2];
  always_comb begin
    for (int unsigned i = 0; i < 2; i++) begin
      places[i].base = commands[i].in_base;
      places[i].plane = commands[i].in_plane;
      places[i].w_first = commands[i].in_w_first;
      places[i].pos_first = commands[i].in_pos_first;
    end
  end

  npu_locate u_locate (
      .clk,
      .places,
      .side(step_q[2].fetch_side),
      .channel(step_q[2].channel),
      .word,
      .bank(),
      .addr(bank_addr)
  );

  assign early_step = step_q[6];
  assign early_offset = offset_q[6];
  assign data_step = step_q[7];

endmodule
