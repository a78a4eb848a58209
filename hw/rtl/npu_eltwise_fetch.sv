// Fetches the element-wise operand ahead of the drain into a queue: one vector for every row of
// every tile. Vectors of rows that drain together are requested and consumed together.
//
// Units: the queue has `EltwiseDepth` entries of `DrainRows` vectors.
//    channel = res_origin + output channel (res_origin alone when one pixel plane serves all)
//    word = word_first + tile number (0 when one value serves a whole channel)

module npu_eltwise_fetch (
  input logic clk_i,
  input logic rst_ni,
  input npu_pkg::exec_t commands_i[2],
  input npu_core_pkg::shape_t shapes_i[2],
  input logic [1:0] accepted_i,
  // Bank read; the data arrive four cycles after the grant.
  output logic [npu_pkg::DrainRows-1:0] request_o,
  output logic [npu_pkg::DrainRows-1:0][npu_pkg::RowBits-1:0] bank_o,
  output logic [npu_pkg::DrainRows-1:0][npu_pkg::BankAddrBits-1:0] addr_o,
  input logic grant_i,
  input logic rvalid_i,
  input logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] rdata_i,
  // Entries that are present and not yet promised to a tile by the sequencer.
  output npu_core_pkg::eltwise_count_t level_o,
  input logic [npu_pkg::RowBits:0] take_i,
  // The oldest entry.
  output logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] head_o,
  input logic pop_i
);

  localparam int unsigned DrainRows = npu_pkg::DrainRows;
  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned Depth = npu_core_pkg::EltwiseDepth;
  localparam int unsigned DepthBits = $clog2(Depth);
  localparam int unsigned CountBits = DepthBits + 1;

  npu_pkg::exec_t cmd;
  npu_core_pkg::tile_t tile;
  logic tile_valid, select, advance;
  assign cmd = commands_i[select];

  npu_tile_iterator #(
    .Drained(1'b1)
  ) u_tile_iterator (
    .clk_i,
    .rst_ni,
    .commands_i,
    .shapes_i,
    .accepted_i,
    .wanted_i     (shapes_i[select].eltwise),
    .advance_i    (advance),
    .valid_o      (tile_valid),
    .select_o     (select),
    .next_select_o(),
    .tile_o       (tile),
    .group_last_o (),
    .last_o       ()
  );

  // Requests that were issued by the iterator and are not granted yet. The iterator stops at eight,
  // so the stages behind it never stall while a bank is busy.
  localparam int unsigned Ahead = 8;
  localparam int unsigned AheadBits = $clog2(Ahead);
  logic [AheadBits:0] outstanding_q;

  logic [RowBits:0] index_q, next;
  logic [CountBits-1:0] credit_q;
  logic [3:0][DrainRows-1:0] wanted_pipe_q;
  logic [DrainRows-1:0] wanted;
  logic issue, row_last;
  logic ctx_q;
  npu_core_pkg::word_t word_q;
  npu_core_pkg::channel_t channel_q[DrainRows];

  assign issue = tile_valid && credit_q != '0 && !outstanding_q[AheadBits];
  assign next = index_q + (RowBits + 1)'(DrainRows);
  assign row_last = next >= tile.rows;
  assign advance = issue && row_last;

  always_ff @(posedge clk_i) begin
    ctx_q <= select;
    word_q <= cmd.residual[3:2] == npu_pkg::SpreadChannel ? '0 :
        20'(cmd.word_first) + 20'(tile.number);
    for (int unsigned d = 0; d < DrainRows; d++) begin
      channel_q[d] <= cmd.residual[3:2] == npu_pkg::SpreadPixel ? cmd.res_origin[12:0] :
          cmd.res_origin[12:0] + 13'(tile.channel) + 13'(index_q) + 13'(d);
    end
  end

  npu_core_pkg::layout_t layouts[2];
  always_comb begin
    for (int unsigned i = 0; i < 2; i++) begin
      layouts[i].base = commands_i[i].res_base;
      layouts[i].plane = commands_i[i].res_plane;
      layouts[i].w_first = commands_i[i].res_w_first;
      layouts[i].pos_first = commands_i[i].res_pos_first;
    end
  end

  typedef struct packed {
    logic [DrainRows-1:0]                            wanted;
    logic [DrainRows-1:0][RowBits-1:0]               bank;
    logic [DrainRows-1:0][npu_pkg::BankAddrBits-1:0] addr;
  } request_t;
  request_t translated;
  for (genvar d = 0; d < DrainRows; d++) begin : gen_row
    assign wanted[d] = index_q + (RowBits + 1)'(d) < tile.rows;
    npu_addr_translate u_addr_translate (
      .clk_i,
      .layouts_i(layouts),
      .ctx_i    (ctx_q),
      .channel_i(channel_q[d]),
      .word_i   (word_q),
      .bank_o   (translated.bank[d]),
      .addr_o   (translated.addr[d])
    );
  end
  assign translated.wanted = wanted_pipe_q[3];

  // Requests wait in a queue whose oldest entry is a register.
  request_t queue[Ahead], request_q;
  logic [AheadBits-1:0] first_q, past_q;
  logic free, bypass, waiting_q, shift;
  assign free = request_o == '0 || grant_i;
  assign bypass = free && !waiting_q;
  assign shift = free && waiting_q;
  assign request_o = request_q.wanted;
  assign bank_o = request_q.bank;
  assign addr_o = request_q.addr;
  always_ff @(posedge clk_i) begin
    if (free) request_q <= waiting_q ? queue[first_q] : translated;
    if (translated.wanted != '0 && !bypass) begin
      queue[past_q] <= translated;
      past_q <= past_q + AheadBits'(1);
    end
    if (shift) first_q <= first_q + AheadBits'(1);
    waiting_q <= (translated.wanted != '0 && !bypass) ||
        (waiting_q && !(shift && first_q + AheadBits'(1) == past_q));
    if (!rst_ni) begin
      request_q.wanted <= '0;
      first_q <= '0;
      past_q <= '0;
      waiting_q <= 1'b0;
    end
  end

  logic [DrainRows-1:0][8*npu_pkg::Lanes-1:0] fifo[Depth];
  logic [DepthBits-1:0] head_q, tail_q;
  assign head_o = fifo[head_q];

  always_ff @(posedge clk_i) begin
    wanted_pipe_q <= {wanted_pipe_q[2:0], issue ? wanted : '0};
    if (issue) index_q <= row_last ? '0 : next;
    outstanding_q <= outstanding_q + (AheadBits + 1)'(issue) - (AheadBits + 1)'(grant_i);
    credit_q <= credit_q - CountBits'(issue) + CountBits'(pop_i);
    level_o <= level_o + CountBits'(rvalid_i) - CountBits'(take_i);
    if (rvalid_i) begin
      fifo[tail_q] <= rdata_i;
      tail_q <= tail_q + DepthBits'(1);
    end
    if (pop_i) head_q <= head_q + DepthBits'(1);
    if (!rst_ni) begin
      wanted_pipe_q <= '0;
      index_q <= '0;
      outstanding_q <= '0;
      credit_q <= CountBits'(Depth);
      level_o <= '0;
      head_q <= '0;
      tail_q <= '0;
    end
  end

endmodule
