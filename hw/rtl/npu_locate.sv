// Bank and address of a map word, in three stages.
//
// What lies outside the ring is only touched by masked lanes: its address is the tensor's base.

module npu_locate (
    input  logic                                            clk,
    input  npu_core_pkg::place_t places[2],
    input  logic                                            side,
    input  npu_core_pkg::channel_t                          channel,
    input  npu_core_pkg::word_t                             word,
    output logic                 [    npu_pkg::RowBits-1:0] bank,
    output logic                 [npu_pkg::BankAddrBits-1:0] addr
);

  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;
  localparam int unsigned GroupBits = 13 - npu_pkg::RowBits;

  npu_core_pkg::place_t place;
  assign place = places[side];

  // Stage 1: distance to the ring's first word, group · plane; the tensor's fields go along.
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
      .clk,
      .a({1'b0, channel[12:npu_pkg::RowBits]}),
      .b({1'b0, place.plane[AddrBits-1:0]}),
      .product_q(group_q)
  );

  // Stage 2: position in the ring, and the same once round.
  logic inside_q;
  logic [AddrBits-1:0] base2_q, plane_base_q;
  logic [AddrBits:0] position_q, wrapped_q;

  // Stage 3. Where the ring has not come round, the wrapped position is negative.
  logic [AddrBits-1:0] from, offset;
  assign from = inside_q ? plane_base_q : base2_q;
  assign offset = wrapped_q[AddrBits] ? position_q[AddrBits-1:0] : wrapped_q[AddrBits-1:0];

  always_ff @(posedge clk) begin
    bank1_q <= channel[npu_pkg::RowBits-1:0];
    distance_q <= 21'(word) - 21'(place.w_first);
    base1_q <= place.base[AddrBits-1:0];
    plane_q <= place.plane;
    first_q <= place.pos_first[AddrBits:0];
    back_q <= place.pos_first[AddrBits:0] - place.plane[AddrBits:0];

    bank2_q <= bank1_q;
    inside_q <= !distance_q[20] && distance_q[19:0] < 20'(plane_q);
    position_q <= distance_q[AddrBits:0] + first_q;
    wrapped_q <= distance_q[AddrBits:0] + back_q;
    base2_q <= base1_q;
    plane_base_q <= base1_q + group_q[AddrBits-1:0];

    bank <= bank2_q;
    addr <= from + (inside_q ? offset : '0);
  end

endmodule
