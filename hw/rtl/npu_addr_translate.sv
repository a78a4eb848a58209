// Address translation: bank and bank address of a tensor's vector, three cycles after the request.
//
// Units: `channel` counts channels, `word` counts vectors of `Lanes` pixels from the tensor's
// origin.
//    bank = channel mod Rows
//    addr = base + (channel / Rows) · plane + ring(word)
//    ring(word) = (pos_first + word − w_first) mod plane, for w_first <= word < w_first + plane
// The address of a vector outside the ring is `base`: only masked lanes read it.

module npu_addr_translate (
  input  logic                                               clk_i,
  input  npu_core_pkg::layout_t                              layouts_i[2],
  input  logic                                               ctx_i,
  input  npu_core_pkg::channel_t                             channel_i,
  input  npu_core_pkg::word_t                                word_i,
  output logic                   [     npu_pkg::RowBits-1:0] bank_o,
  output logic                   [npu_pkg::BankAddrBits-1:0] addr_o
);

  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;
  localparam int unsigned GroupBits = 13 - npu_pkg::RowBits;

  npu_core_pkg::layout_t layout;
  assign layout = layouts_i[ctx_i];

  // Stage 1 computes the distance to the ring's first vector and the product group · plane. The
  // other layout fields are delayed along with them.
  logic [npu_pkg::RowBits-1:0] bank1_q, bank2_q;
  logic signed [20:0] distance_q;
  logic [AddrBits-1:0] base1_q;
  logic [AddrBits:0] first_q, back_q;
  logic [15:0] plane_q;
  logic [GroupBits+AddrBits+1:0] group_q;
  npu_multiply #(
    .ABits(GroupBits + 1),
    .BBits(AddrBits + 1)
  ) u_group (
    .clk_i,
    .a_i      ({1'b0, channel_i[12:npu_pkg::RowBits]}),
    .b_i      ({1'b0, layout.plane[AddrBits-1:0]}),
    .product_o(group_q)
  );

  // Stage 2 computes the position in the ring, and the same minus one round.
  logic inside_q;
  logic [AddrBits-1:0] base2_q, plane_base_q;
  logic [AddrBits:0] position_q, wrapped_q;

  // Stage 3 selects. The wrapped position is negative where the ring has not wrapped.
  logic [AddrBits-1:0] from, offset;
  assign from = inside_q ? plane_base_q : base2_q;
  assign offset = wrapped_q[AddrBits] ? position_q[AddrBits-1:0] : wrapped_q[AddrBits-1:0];

  always_ff @(posedge clk_i) begin
    bank1_q <= channel_i[npu_pkg::RowBits-1:0];
    distance_q <= 21'(word_i) - 21'(layout.w_first);
    base1_q <= layout.base[AddrBits-1:0];
    plane_q <= layout.plane;
    first_q <= layout.pos_first[AddrBits:0];
    back_q <= layout.pos_first[AddrBits:0] - layout.plane[AddrBits:0];

    bank2_q <= bank1_q;
    inside_q <= !distance_q[20] && distance_q[19:0] < 20'(plane_q);
    position_q <= distance_q[AddrBits:0] + first_q;
    wrapped_q <= distance_q[AddrBits:0] + back_q;
    base2_q <= base1_q;
    plane_base_q <= base1_q + group_q[AddrBits-1:0];

    bank_o <= bank2_q;
    addr_o <= from + (inside_q ? offset : '0);
  end

endmodule
