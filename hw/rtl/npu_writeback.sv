// Write-back: bank, address, bytes and byte enables of results. Flat mode writes whole vectors, row
// mode writes rotated bytes of one or two vectors.
//
//    f = y · out_w + x (row mode), word = f / Lanes, or word_first + tile number (flat mode)
//    byte b of the vector = lane b − offset, of the second vector lane b + Lanes − offset

module npu_writeback (
  input  logic                                                                    clk_i,
  input  logic                                                                    rst_ni,
  input  npu_pkg::exec_t                                                          commands_i    [2],
  // Stage 0.
  input  npu_core_pkg::slot_t                                                     slot_i,
  input  npu_core_pkg::tile_t                                                     tile_i,
  // Stage 21.
  input  logic                [npu_pkg::DrainRows-1:0]                            result_valid_i,
  input  logic                [npu_pkg::DrainRows-1:0][     8*npu_pkg::Lanes-1:0] result_i,
  // Stage 22; rows that drain together write the same bytes of different banks.
  output logic                [npu_pkg::DrainRows-1:0]                            wr_valid_o,
  output logic                [npu_pkg::DrainRows-1:0][     npu_pkg::RowBits-1:0] wr_bank_o,
  output logic                [npu_pkg::DrainRows-1:0][npu_pkg::BankAddrBits-1:0] wr_addr_o,
  output logic                [npu_pkg::DrainRows-1:0][     8*npu_pkg::Lanes-1:0] wr_data_o,
  output logic                [    npu_pkg::Lanes-1:0]                            wr_be_o
);

  localparam int unsigned Lanes = npu_pkg::Lanes;
  localparam int unsigned LaneBits = npu_pkg::LaneBits;
  localparam int unsigned DrainRows = npu_pkg::DrainRows;

  // Lanes of the tile within the vector.
  typedef struct packed {
    logic                half;
    logic [LaneBits-1:0] offset;
    logic [LaneBits:0]   num_lanes;
  } lanes_t;

  npu_core_pkg::channel_t channel_q[1:2];  // of the first row
  logic signed [24:0] product_q;
  npu_core_pkg::word_t row_word_q;
  logic [2:1] ctx_q;
  logic [11:0] x_q;
  npu_core_pkg::word_t flat_q[1:2];
  lanes_t [5:1] lanes_q;

  npu_multiply #(
    .ABits(13),
    .BBits(12)
  ) u_row (
    .clk_i,
    .a_i      ({1'b0, tile_i.y}),
    .b_i      ({1'b0, commands_i[slot_i.ctx].out_w[10:0]}),
    .product_o(product_q)
  );

  always_ff @(posedge clk_i) begin
    channel_q[1] <= commands_i[slot_i.ctx].out_origin[12:0] + 13'(slot_i.channel);
    channel_q[2] <= channel_q[1];
    x_q <= tile_i.x;
    row_word_q <= 20'((product_q[23:0] + 24'(x_q)) >>> LaneBits);
    ctx_q <= {ctx_q[1], slot_i.ctx};
    flat_q[1] <= 20'(commands_i[slot_i.ctx].word_first) + 20'(tile_i.number);
    flat_q[2] <= flat_q[1];
    lanes_q <= {lanes_q[4:1], slot_i.half, tile_i.offset, tile_i.num_lanes};
  end

  npu_core_pkg::word_t word;
  assign word = commands_i[ctx_q[2]].flags[npu_pkg::ExecFlagRowMode] ?
      row_word_q + 20'(lanes_q[2].half) : flat_q[2];

  npu_core_pkg::layout_t layouts[2];
  always_comb begin
    for (int unsigned i = 0; i < 2; i++) begin
      layouts[i].base = commands_i[i].out_base;
      layouts[i].plane = commands_i[i].out_plane;
      layouts[i].w_first = commands_i[i].out_w_first;
      layouts[i].pos_first = commands_i[i].out_pos_first;
    end
  end

  logic [DrainRows-1:0][npu_pkg::RowBits-1:0] bank, delayed_bank;
  logic [DrainRows-1:0][npu_pkg::BankAddrBits-1:0] addr, delayed_addr;
  for (genvar d = 0; d < DrainRows; d++) begin : gen_locate
    npu_addr_translate u_addr_translate (
      .clk_i,
      .layouts_i(layouts),
      .ctx_i    (ctx_q[2]),
      .channel_i(channel_q[2] + 13'(d)),
      .word_i   (word),
      .bank_o   (bank[d]),
      .addr_o   (addr[d])
    );
  end

  // The address is delayed from stage 5 to stage 21, where the results arrive.
  lanes_t lanes;
  npu_delay #(
    .Width ($bits(lanes_t) + DrainRows * (npu_pkg::RowBits + npu_pkg::BankAddrBits)),
    .Cycles(16)
  ) u_delay (
    .clk_i,
    .rst_ni,
    .data_i({lanes_q[5], bank, addr}),
    .data_o({lanes, delayed_bank, delayed_addr})
  );

  // Byte b of the vector takes lane b − offset, of the second vector lane b + Lanes − offset.
  logic [DrainRows-1:0][8*Lanes-1:0] rotated;
  logic [Lanes-1:0] enable;
  always_comb begin
    for (int unsigned d = 0; d < DrainRows; d++) begin
      rotated[d] = (8 * Lanes)
          '({result_i[d], result_i[d]} >> {LaneBits'(Lanes) - lanes.offset, 3'b000});
    end
    for (int unsigned b = 0; b < Lanes; b++) begin
      enable[b] = lanes.half ? b[LaneBits:0] < {1'b0, lanes.offset} && (LaneBits + 1)'(b) +
          (LaneBits + 1)'(Lanes) - {1'b0, lanes.offset} < lanes.num_lanes : b[LaneBits:0] >=
          {1'b0, lanes.offset} && (LaneBits + 1)'(b) - {1'b0, lanes.offset} < lanes.num_lanes;
    end
  end

  always_ff @(posedge clk_i) begin
    wr_valid_o <= result_valid_i;
    wr_bank_o <= delayed_bank;
    wr_addr_o <= delayed_addr;
    wr_data_o <= rotated;
    wr_be_o <= enable;
    if (!rst_ni) wr_valid_o <= '0;
  end

endmodule
