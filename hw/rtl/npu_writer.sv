// Where results go: whole words in flat mode, rotated bytes of one or two words in row mode.

module npu_writer (
    input  logic                                             clk,
    input  logic                                             rst,
    input  npu_pkg::exec_t commands[2],
    // Stage 0.
    input  npu_core_pkg::slot_t                              slot,
    input  npu_core_pkg::tile_t                              tile,
    // Stage 21.
    input  logic [npu_pkg::DrainRows-1:0] late,
    input  logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] result,
    // Stage 22; rows that drain together fill the same bytes.
    output logic [npu_pkg::DrainRows-1:0] wr_valid,
    output logic [npu_pkg::DrainRows-1:0][npu_pkg::RowBits-1:0] wr_bank,
    output logic [npu_pkg::DrainRows-1:0][npu_pkg::BankAddrBits-1:0] wr_addr,
    output logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] wr_data,
    output logic [npu_pkg::Lanes-1:0] wr_be
);

  localparam int unsigned Lanes = npu_pkg::Lanes;
  localparam int unsigned LaneBits = npu_pkg::LaneBits;
  localparam int unsigned DrainRows = npu_pkg::DrainRows;

  // Lanes of the tile within the word.
  typedef struct packed {
    logic half;
    logic [LaneBits-1:0] offset;
    logic [LaneBits:0] live;
  } lanes_t;

  npu_core_pkg::channel_t channel_q[1:2];  // of the first row
  logic signed [24:0] product_q;
  npu_core_pkg::word_t row_word_q;
  logic [2:1] side_q;
  logic [11:0] x_q;
  npu_core_pkg::word_t flat_q[1:2];
  lanes_t [5:1] lanes_q;

  npu_multiply #(
      .ABits(13),
      .BBits(12)
  ) u_row (
      .clk,
      .a({1'b0, tile.y}),
      .b({1'b0, commands[slot.side].out_w[10:0]}),
      .product_q
  );

  always_ff @(posedge clk) begin
    channel_q[1] <= commands[slot.side].out_origin[12:0] + 13'(slot.channel);
    channel_q[2] <= channel_q[1];
    x_q <= tile.x;
    row_word_q <= 20'((product_q[23:0] + 24'(x_q)) >>> LaneBits);
    side_q <= {side_q[1], slot.side};
    flat_q[1] <= 20'(commands[slot.side].word_first) + 20'(tile.number);
    flat_q[2] <= flat_q[1];
    lanes_q <= {lanes_q[4:1], slot.half, tile.offset, tile.live};
  end

  npu_core_pkg::word_t word;
  assign word = commands[side_q[2]].flags[npu_pkg::ExecFlagRowMode]
      ? row_word_q + 20'(lanes_q[2].half) : flat_q[2];

  npu_core_pkg::place_t places[2];
  always_comb begin
    for (int unsigned i = 0; i < 2; i++) begin
      places[i].base = commands[i].out_base;
      places[i].plane = commands[i].out_plane;
      places[i].w_first = commands[i].out_w_first;
      places[i].pos_first = commands[i].out_pos_first;
    end
  end

  logic [DrainRows-1:0][npu_pkg::RowBits-1:0] bank, late_bank;
  logic [DrainRows-1:0][npu_pkg::BankAddrBits-1:0] addr, late_addr;
  for (genvar d = 0; d < DrainRows; d++) begin : gen_locate
    npu_locate u_locate (
        .clk,
        .places,
        .side(side_q[2]),
        .channel(channel_q[2] + 13'(d)),
        .word,
        .bank(bank[d]),
        .addr(addr[d])
    );
  end

  // The place waits from stage 5 to stage 21 for the results.
  lanes_t lanes;
  npu_delay #(
      .Width ($bits(lanes_t) + DrainRows * (npu_pkg::RowBits + npu_pkg::BankAddrBits)),
      .Cycles(16)
  ) u_delay (
      .clk,
      .rst,
      .in ({lanes_q[5], bank, addr}),
      .out({lanes, late_bank, late_addr})
  );

  // Byte b of the word takes lane b − offset, of the second word lane b + Lanes − offset.
  logic [DrainRows-1:0][8*Lanes-1:0] rotated;
  logic [Lanes-1:0] enable;
  always_comb begin
    for (int unsigned d = 0; d < DrainRows; d++) begin
      rotated[d] = (8 * Lanes)'({result[d], result[d]} >> {LaneBits'(Lanes) - lanes.offset, 3'b000});
    end
    for (int unsigned b = 0; b < Lanes; b++) begin
      enable[b] = lanes.half
          ? b[LaneBits:0] < {1'b0, lanes.offset}
              && (LaneBits + 1)'(b) + (LaneBits + 1)'(Lanes) - {1'b0, lanes.offset} < lanes.live
          : b[LaneBits:0] >= {1'b0, lanes.offset}
              && (LaneBits + 1)'(b) - {1'b0, lanes.offset} < lanes.live;
    end
  end

  always_ff @(posedge clk) begin
    wr_valid <= late;
    wr_bank <= late_bank;
    wr_addr <= late_addr;
    wr_data <= rotated;
    wr_be <= enable;
    if (rst) wr_valid <= '0;
  end

endmodule
