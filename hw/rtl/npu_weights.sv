// Weight memory and its read order: a group's slice of weights is read once per tile.
//
// Units: a word has one int8 weight per array row; its control byte is in a separate memory, since
// the skip list reads ahead of the weights.

module npu_weights (
  input  logic                                             clk_i,
  input  npu_pkg::exec_t                                   commands_i    [2],
  // Write port of LOAD: weights, control byte above them.
  input  logic                                             lw_valid_i,
  input  logic               [npu_pkg::WeightAddrBits-1:0] lw_addr_i,
  input  logic               [        8*npu_pkg::Rows+7:0] lw_data_i,
  // Read port of the skip list.
  input  logic               [npu_pkg::WeightAddrBits-1:0] list_addr_i,
  output logic               [                        7:0] list_control_o,
  // Context of the next tap; a tap. Four stages later the weight of each row appears, one stage
  // ahead of its operand.
  input  logic                                             ctx_i,
  input  npu_core_pkg::tap_t                               tap_i,
  output logic               [        8*npu_pkg::Rows-1:0] weight_o
);

  localparam int unsigned AddrBits = npu_pkg::WeightAddrBits;

  logic control_we_q;
  logic [AddrBits-1:0] control_waddr_q;
  logic [7:0] control_q;
  npu_replica #(
    .Width(1 + AddrBits + 8)
  ) u_control_write (
    .clk_i,
    .d_i({lw_valid_i, lw_addr_i, lw_data_i[8*npu_pkg::Rows+:8]}),
    .q_o({control_we_q, control_waddr_q, control_q})
  );
  npu_ram #(
    .Words(npu_pkg::WeightWords),
    .Width(8)
  ) u_control (
    .clk_i,
    .we_i   (control_we_q),
    .waddr_i(control_waddr_q),
    .wdata_i(control_q),
    .re_i   (1'b1),
    .raddr_i(list_addr_i),
    .rdata_o(list_control_o)
  );

  logic [AddrBits-1:0] base_q, next_q, slice_q, from, slice, after;
  logic [2:0] fixed_q;

  assign from = tap_i.fresh ? base_q : next_q;
  assign slice = tap_i.fresh ? base_q : slice_q;
  assign after = from == AddrBits'(npu_pkg::WeightWords - 1) ? '0 : from + AddrBits'(1);

  always_ff @(posedge clk_i) begin
    base_q <= commands_i[ctx_i].weight_base[AddrBits-1:0];
    if (tap_i.valid) begin
      slice_q <= tap_i.last && tap_i.group_last ? after : slice;
      next_q <= tap_i.last && !tap_i.group_last ? slice : after;
    end
    fixed_q <= {fixed_q[1:0], commands_i[tap_i.ctx].mode > npu_pkg::ModeDepthwise};
  end

  // Two rows share a memory, which has its own registers ahead of both ports: memories are placed
  // across the device.
  for (genvar i = 0; i < npu_pkg::Rows / 2; i++) begin : gen_rows
    logic we_q;
    logic [AddrBits-1:0] from_q, waddr_q;
    logic [15:0] written_q, word, word_q;
    npu_replica #(
      .Width(1 + AddrBits + 16)
    ) u_write (
      .clk_i,
      .d_i({lw_valid_i, lw_addr_i, lw_data_i[16*i+:16]}),
      .q_o({we_q, waddr_q, written_q})
    );
    npu_replica #(
      .Width(AddrBits)
    ) u_from (
      .clk_i,
      .d_i(from),
      .q_o(from_q)
    );
    npu_ram #(
      .Words(npu_pkg::WeightWords),
      .Width(16)
    ) u_values (
      .clk_i,
      .we_i   (we_q),
      .waddr_i(waddr_q),
      .wdata_i(written_q),
      .re_i   (1'b1),
      .raddr_i(from_q),
      .rdata_o(word)
    );
    always_ff @(posedge clk_i) begin
      word_q <= word;
      // Modes without weights multiply by one.
      weight_o[16*i+:16] <= fixed_q[2] ? {2{8'd1}} : word_q;
    end
  end

endmodule
