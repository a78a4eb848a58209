// Bank and address of a map word, in three stages.
//
// What lies outside the ring is only touched by masked lanes: its address is the tensor's base.

module npu_locate (
    input  logic                                            clk,
    input  logic                                            enable,
    input  npu_core_pkg::place_t places[2],
    input  logic                                            side,
    input  npu_core_pkg::channel_t                          channel,
    input  npu_core_pkg::word_t                             word,
    output logic                 [    npu_pkg::RowBits-1:0] bank,
    output logic                 [npu_pkg::BankAddrBits-1:0] addr
);

  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;

  logic side1_q, side2_q, inside_q;
  logic [npu_pkg::RowBits-1:0] bank1_q, bank2_q;
  logic signed [20:0] distance_q;
  logic [AddrBits-1:0] group_q, plane_base_q;
  logic [AddrBits:0] position_q;

  always_ff @(posedge clk) begin
    if (enable) begin
      side1_q <= side;
      bank1_q <= channel[npu_pkg::RowBits-1:0];
      distance_q <= 21'(word) - 21'(places[side].w_first);
      group_q <= AddrBits'(channel[12:npu_pkg::RowBits]) * places[side].plane[AddrBits-1:0];

      side2_q <= side1_q;
      bank2_q <= bank1_q;
      inside_q <= !distance_q[20] && distance_q[19:0] < 20'(places[side1_q].plane);
      position_q <= places[side1_q].pos_first[AddrBits:0] + distance_q[AddrBits:0];
      plane_base_q <= places[side1_q].base[AddrBits-1:0] + group_q;

      bank <= bank2_q;
      if (!inside_q) addr <= places[side2_q].base[AddrBits-1:0];
      else if (position_q >= places[side2_q].plane[AddrBits:0])
        addr <= plane_base_q + AddrBits'(position_q - places[side2_q].plane[AddrBits:0]);
      else addr <= plane_base_q + position_q[AddrBits-1:0];
    end
  end

endmodule
