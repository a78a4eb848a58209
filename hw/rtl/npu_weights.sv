// Weight words and their order: a group's slice is read once for every tile.
//
// The control bytes lie in a memory of their own, since the skip list reads ahead of the weights.

module npu_weights (
    input  logic                                              clk,
    input  npu_pkg::exec_t commands[2],
    // Write port of LOAD: weights, control byte above them.
    input  logic                                              lw_valid,
    input  logic                [npu_pkg::WeightAddrBits-1:0] lw_addr,
    input  logic                [      8*npu_pkg::Rows+7:0]   lw_data,
    // Read port of the skip list.
    input  logic                [npu_pkg::WeightAddrBits-1:0] list_addr,
    output logic                [                        7:0] list_control,
    // The next tap's side; a tap, and four stages later the weight of each row, a stage ahead of its operand.
    input  logic                                              side,
    input  npu_core_pkg::tap_t                                tap,
    output logic                [     8*npu_pkg::Rows-1:0]    weight
);

  localparam int unsigned AddrBits = npu_pkg::WeightAddrBits;

  logic control_we_q;
  logic [AddrBits-1:0] control_waddr_q;
  logic [7:0] control_q;
  npu_replica #(
      .Width(1 + AddrBits + 8)
  ) u_control_write (
      .clk,
      .in ({lw_valid, lw_addr, lw_data[8*npu_pkg::Rows+:8]}),
      .out({control_we_q, control_waddr_q, control_q})
  );
  npu_ram #(
      .Words(npu_pkg::WeightWords),
      .Width(8)
  ) u_control (
      .clk,
      .we(control_we_q),
      .waddr(control_waddr_q),
      .wdata(control_q),
      .en(1'b1),
      .raddr(list_addr),
      .rdata(list_control)
  );

  logic [AddrBits-1:0] base_q, next_q, slice_q, from, slice, after;
  logic [2:0] fixed_q;

  assign from  = tap.fresh ? base_q : next_q;
  assign slice = tap.fresh ? base_q : slice_q;
  assign after = from == AddrBits'(npu_pkg::WeightWords - 1) ? '0 : from + AddrBits'(1);

  always_ff @(posedge clk) begin
    base_q <= commands[side].weight_base[AddrBits-1:0];
    if (tap.valid) begin
      slice_q <= tap.last && tap.group_last ? after : slice;
      next_q  <= tap.last && !tap.group_last ? slice : after;
    end
    fixed_q <= {fixed_q[1:0], commands[tap.side].mode > npu_pkg::ModeDepthwise};
  end

  // Two rows a memory, with registers of its own ahead of both ports: memories stand all over the device.
  for (genvar i = 0; i < npu_pkg::Rows / 2; i++) begin : gen_rows
    logic we_q;
    logic [AddrBits-1:0] from_q, waddr_q;
    logic [15:0] written_q, word, word_q;
    npu_replica #(
        .Width(1 + AddrBits + 16)
    ) u_write (
        .clk,
        .in ({lw_valid, lw_addr, lw_data[16*i+:16]}),
        .out({we_q, waddr_q, written_q})
    );
    npu_replica #(
        .Width(AddrBits)
    ) u_from (
        .clk,
        .in (from),
        .out(from_q)
    );
    npu_ram #(
        .Words(npu_pkg::WeightWords),
        .Width(16)
    ) u_values (
        .clk,
        .we(we_q),
        .waddr(waddr_q),
        .wdata(written_q),
        .en(1'b1),
        .raddr(from_q),
        .rdata(word)
    );
    always_ff @(posedge clk) begin
      word_q <= word;
      // Modes without weights multiply by one.
      weight[16*i+:16] <= fixed_q[2] ? {2{8'd1}} : word_q;
    end
  end

endmodule
