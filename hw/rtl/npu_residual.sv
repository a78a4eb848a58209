// Reads the second map ahead of the drain, a word for every row of every tile, into a queue; the words
// of rows that drain together come and go together.

module npu_residual (
    input  logic                                              clk,
    input  logic                                              rst,
    input  npu_pkg::exec_t commands[2],
    input  logic           [                             1:0] accepted,
    // Bank read, answered two cycles after the grant.
    output logic [npu_pkg::DrainRows-1:0] request,
    output logic [npu_pkg::DrainRows-1:0][npu_pkg::RowBits-1:0] bank,
    output logic [npu_pkg::DrainRows-1:0][npu_pkg::BankAddrBits-1:0] addr,
    input  logic                                              grant,
    input  logic                                              answer,
    input  logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] data,
    // Words that the sequencer has not promised to a tile yet.
    output npu_core_pkg::second_count_t                       level,
    input  logic           [              npu_pkg::RowBits:0] take,
    // The oldest words.
    output logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] head,
    input  logic                                              pop
);

  localparam int unsigned DrainRows = npu_pkg::DrainRows;
  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned Depth = npu_core_pkg::SecondDepth;
  localparam int unsigned DepthBits = $clog2(Depth);
  localparam int unsigned CountBits = DepthBits + 1;

  npu_pkg::exec_t cmd;
  npu_core_pkg::tile_t tile;
  logic walking, select, advance;

  npu_tiles #(
      .Drained(1'b1)
  ) u_tiles (
      .clk,
      .rst,
      .commands,
      .accepted,
      .wanted(cmd.residual[1:0] != npu_pkg::ResNone),
      .advance,
      .valid(walking),
      .select,
      .cmd,
      .tile,
      .group_last(),
      .last()
  );

  logic [RowBits:0] index_q, next;
  logic [CountBits-1:0] credit_q;
  logic [2:0][DrainRows-1:0] flow_q;
  logic [DrainRows-1:0] wanted;
  logic enable, issue, row_last;
  npu_core_pkg::word_t word;

  // Stages behind the walker stand still while a bank is taken.
  assign enable = request == '0 || grant;
  assign issue = walking && credit_q != '0 && enable;
  assign next = index_q + (RowBits + 1)'(DrainRows);
  assign row_last = next >= tile.rows;
  assign advance = issue && row_last;

  always_comb begin
    word = 20'(cmd.word_first) + 20'(tile.number);
    if (cmd.residual[3:2] == npu_pkg::SpreadChannel) word = '0;
  end

  npu_core_pkg::place_t places[2];
  always_comb begin
    for (int unsigned i = 0; i < 2; i++) begin
      places[i].base = commands[i].res_base;
      places[i].plane = commands[i].res_plane;
      places[i].w_first = commands[i].res_w_first;
      places[i].pos_first = commands[i].res_pos_first;
    end
  end

  for (genvar d = 0; d < DrainRows; d++) begin : gen_row
    npu_core_pkg::channel_t channel;
    assign wanted[d] = index_q + (RowBits + 1)'(d) < tile.rows;
    assign channel = cmd.residual[3:2] == npu_pkg::SpreadPixel ? cmd.res_origin[12:0]
        : cmd.res_origin[12:0] + 13'(tile.channel) + 13'(index_q) + 13'(d);
    npu_locate u_locate (
        .clk,
        .enable,
        .places,
        .side(select),
        .channel,
        .word,
        .bank(bank[d]),
        .addr(addr[d])
    );
  end

  logic [DrainRows-1:0][8*npu_pkg::Lanes-1:0] fifo[Depth];
  logic [DepthBits-1:0] head_q, tail_q;
  assign request = flow_q[2];
  assign head = fifo[head_q];

  always_ff @(posedge clk) begin
    if (enable) flow_q <= {flow_q[1:0], issue ? wanted : '0};
    if (issue) index_q <= row_last ? '0 : next;
    credit_q <= credit_q - CountBits'(issue) + CountBits'(pop);
    level <= level + CountBits'(answer) - CountBits'(take);
    if (answer) begin
      fifo[tail_q] <= data;
      tail_q <= tail_q + DepthBits'(1);
    end
    if (pop) head_q <= head_q + DepthBits'(1);
    if (rst) begin
      flow_q <= '0;
      index_q <= '0;
      credit_q <= CountBits'(Depth);
      level <= '0;
      head_q <= '0;
      tail_q <= '0;
    end
  end

endmodule
