// Reads the second map ahead of the drain, a word for every row of every tile, into a queue; the words
// of rows that drain together come and go together.

module npu_residual (
    input  logic                                              clk,
    input  logic                                              rst,
    input  npu_pkg::exec_t commands[2],
    input  npu_core_pkg::shape_t                              shapes[2],
    input  logic           [                             1:0] accepted,
    // Bank read, answered four cycles after the grant.
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
  assign cmd = commands[select];

  npu_tiles #(
      .Drained(1'b1)
  ) u_tiles (
      .clk,
      .rst,
      .commands,
      .shapes,
      .accepted,
      .wanted(shapes[select].second),
      .advance,
      .valid(walking),
      .select,
      .next_select(),
      .tile,
      .group_last(),
      .last()
  );

  // Words asked for of which there are no requests yet, or none granted: the walker stops at eight, so
  // that nothing behind it has to stand still while a bank is taken.
  localparam int unsigned Ahead = 8;
  localparam int unsigned AheadBits = $clog2(Ahead);
  logic [AheadBits:0] asked_q;

  logic [RowBits:0] index_q, next;
  logic [CountBits-1:0] credit_q;
  logic [3:0][DrainRows-1:0] flow_q;
  logic [DrainRows-1:0] wanted;
  logic issue, row_last;
  logic side_q;
  npu_core_pkg::word_t word_q;
  npu_core_pkg::channel_t channel_q[DrainRows];

  assign issue = walking && credit_q != '0 && !asked_q[AheadBits];
  assign next = index_q + (RowBits + 1)'(DrainRows);
  assign row_last = next >= tile.rows;
  assign advance = issue && row_last;

  always_ff @(posedge clk) begin
    side_q <= select;
    word_q <= cmd.residual[3:2] == npu_pkg::SpreadChannel ? '0
        : 20'(cmd.word_first) + 20'(tile.number);
    for (int unsigned d = 0; d < DrainRows; d++) begin
      channel_q[d] <= cmd.residual[3:2] == npu_pkg::SpreadPixel ? cmd.res_origin[12:0]
          : cmd.res_origin[12:0] + 13'(tile.channel) + 13'(index_q) + 13'(d);
    end
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

  typedef struct packed {
    logic [DrainRows-1:0] wanted;
    logic [DrainRows-1:0][RowBits-1:0] bank;
    logic [DrainRows-1:0][npu_pkg::BankAddrBits-1:0] addr;
  } request_t;
  request_t found;
  for (genvar d = 0; d < DrainRows; d++) begin : gen_row
    assign wanted[d] = index_q + (RowBits + 1)'(d) < tile.rows;
    npu_locate u_locate (
        .clk,
        .places,
        .side(side_q),
        .channel(channel_q[d]),
        .word(word_q),
        .bank(found.bank[d]),
        .addr(found.addr[d])
    );
  end
  assign found.wanted = flow_q[3];

  // Requests wait in a queue, the oldest one in a register.
  request_t queue[Ahead], request_q;
  logic [AheadBits-1:0] first_q, past_q;
  logic free, through, waiting_q, shift;
  assign free = request == '0 || grant;
  assign through = free && !waiting_q;
  assign shift = free && waiting_q;
  assign request = request_q.wanted;
  assign bank = request_q.bank;
  assign addr = request_q.addr;
  always_ff @(posedge clk) begin
    if (free) request_q <= waiting_q ? queue[first_q] : found;
    if (found.wanted != '0 && !through) begin
      queue[past_q] <= found;
      past_q <= past_q + AheadBits'(1);
    end
    if (shift) first_q <= first_q + AheadBits'(1);
    waiting_q <= (found.wanted != '0 && !through) || (waiting_q && !(shift && first_q + AheadBits'(1) == past_q));
    if (rst) begin
      request_q.wanted <= '0;
      first_q <= '0;
      past_q <= '0;
      waiting_q <= 1'b0;
    end
  end

  logic [DrainRows-1:0][8*npu_pkg::Lanes-1:0] fifo[Depth];
  logic [DepthBits-1:0] head_q, tail_q;
  assign head = fifo[head_q];

  always_ff @(posedge clk) begin
    flow_q <= {flow_q[2:0], issue ? wanted : '0};
    if (issue) index_q <= row_last ? '0 : next;
    asked_q <= asked_q + (AheadBits + 1)'(issue) - (AheadBits + 1)'(grant);
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
      asked_q <= '0;
      credit_q <= CountBits'(Depth);
      level <= '0;
      head_q <= '0;
      tail_q <= '0;
    end
  end

endmodule
