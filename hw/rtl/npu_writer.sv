// Where results go: whole words in flat mode, rotated bytes of one or two words in row mode.

module npu_writer (
    input  logic                                             clk,
    input  logic                                             rst,
    input  npu_pkg::exec_t commands[2],
    // Stage 0.
    input  npu_core_pkg::slot_t                              slot,
    input  npu_core_pkg::tile_t                              tile,
    // Stage 16.
    input  logic                                             late,
    input  logic                [                     127:0] result,
    // Stage 17.
    output logic                                             wr_valid,
    output logic                [      npu_pkg::RowBits-1:0] wr_bank,
    output logic                [ npu_pkg::BankAddrBits-1:0] wr_addr,
    output logic                [                     127:0] wr_data,
    output logic                [                      15:0] wr_be
);

  // Lanes of the tile within the word.
  typedef struct packed {
    logic half;
    logic [3:0] offset;
    logic [4:0] live;
  } lanes_t;

  npu_core_pkg::channel_t channel_q[1:2];
  logic signed [23:0] product_q;
  npu_core_pkg::word_t row_word_q;
  logic [2:1] side_q;
  logic [11:0] x_q;
  npu_core_pkg::word_t flat_q[1:2];
  lanes_t [5:1] lanes_q;

  logic row_mode;
  assign row_mode = commands[slot.side].flags[npu_pkg::ExecFlagRowMode];

  always_ff @(posedge clk) begin
    channel_q[1] <= commands[slot.side].out_origin[12:0] + 13'(slot.channel);
    channel_q[2] <= channel_q[1];
    product_q <= 24'(tile.y) * 24'(commands[slot.side].out_w[10:0]);
    x_q <= tile.x;
    row_word_q <= 20'((product_q + 24'(x_q)) >>> npu_pkg::LaneBits);
    side_q <= {side_q[1], slot.side};
    flat_q[1] <= 20'(commands[slot.side].word_first) + 20'(tile.number);
    flat_q[2] <= flat_q[1];

    lanes_q[5:2] <= lanes_q[4:1];
    lanes_q[1].half <= slot.half;
    lanes_q[1].offset <= row_mode ? npu_core_pkg::word_offset(
        commands[slot.side].out_w[3:0], tile.y[3:0], tile.x[3:0])
        : '0;
    lanes_q[1].live <= row_mode ? npu_core_pkg::live_lanes(commands[slot.side].out_w, tile.x) : 5'd16;
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

  logic [npu_pkg::RowBits-1:0] bank, late_bank;
  logic [npu_pkg::BankAddrBits-1:0] addr, late_addr;
  npu_locate u_locate (
      .clk,
      .enable(1'b1),
      .places,
      .side(side_q[2]),
      .channel(channel_q[2]),
      .word,
      .bank,
      .addr
  );

  // The place waits from stage 5 to stage 16 for the results.
  lanes_t lanes;
  npu_delay #(
      .Width ($bits(lanes_t) + npu_pkg::RowBits + npu_pkg::BankAddrBits),
      .Cycles(11)
  ) u_delay (
      .clk,
      .rst,
      .in ({lanes_q[5], bank, addr}),
      .out({lanes, late_bank, late_addr})
  );

  // Byte b of the word takes lane b − offset, of the second word lane b + 16 − offset.
  logic [127:0] rotated;
  logic [15:0] enable;
  assign rotated = 128'({result, result} >> {4'(5'd16 - {1'b0, lanes.offset}), 3'b000});
  always_comb begin
    for (int unsigned b = 0; b < 16; b++) begin
      enable[b] = lanes.half
          ? b[4:0] < {1'b0, lanes.offset} && 5'(b) + 5'd16 - {1'b0, lanes.offset} < lanes.live
          : b[4:0] >= {1'b0, lanes.offset} && 5'(b) - {1'b0, lanes.offset} < lanes.live;
    end
  end

  always_ff @(posedge clk) begin
    wr_valid <= late;
    wr_bank <= late_bank;
    wr_addr <= late_addr;
    wr_data <= rotated;
    wr_be <= enable;
    if (rst) wr_valid <= 1'b0;
  end

endmodule
