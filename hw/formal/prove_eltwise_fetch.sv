// npu_eltwise_fetch: each tile requests the vectors of its rows in order, each once, and they are
// handed out in that order; the queue never overflows; `level` counts the entries that are present
// and not promised; a tile that finds room requests at once.
//
// The model of npu_addr_translate returns a mark of context, channel and word three cycles later.
// The arbiter answers after the grant (`bank-arbiter`); a tile is what npu_tile_iterator says it is
// (`tile-iterator`).
module prove_eltwise_fetch (
  input logic                                                          clk_i,
  input logic                                                          rst_ni,
  // A command is accepted; a command is finished.
  input logic                                                          take_cmd_i,
  input npu_pkg::exec_t                                                cmd_i,
  input logic                                                          finish_i,
  input logic                                                          grant_i,
  input logic           [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] rdata_i,
  // The entry that is followed through the queue.
  input logic                                                          mark_i,
  input logic           [    npu_pkg::RowBits:0]                       take_i,
  input logic                                                          pop_i
);
  import npu_pkg::*;
  import npu_core_pkg::*;

  localparam int unsigned Ahead = 8;
  localparam int unsigned Depth = EltwiseDepth;

  exec_t commands[2];
  // The core keeps these values with a command; they are computed when it is accepted.
  shape_t shapes[2];
  assign shapes[0] = shape_of(commands[0]);
  assign shapes[1] = shape_of(commands[1]);
  logic [1:0] accepted, finished_q;
  logic [DrainRows-1:0] request;
  logic [DrainRows-1:0][RowBits-1:0] bank;
  logic [DrainRows-1:0][BankAddrBits-1:0] addr;
  logic answer;
  eltwise_count_t level;
  logic [DrainRows-1:0][8*Lanes-1:0] head;

  npu_eltwise_fetch u_eltwise_fetch (
    .clk_i,
    .rst_ni,
    .commands_i(commands),
    .shapes_i  (shapes),
    .accepted_i(accepted),
    .request_o (request),
    .bank_o    (bank),
    .addr_o    (addr),
    .grant_i,
    .rvalid_i  (answer),
    .rdata_i,
    .level_o   (level),
    .take_i,
    .head_o    (head),
    .pop_i
  );

  logic tile_valid, advance;
  logic [1:0] left;
  exec_t own;
  tile_t tile;
  assign tile_valid = u_eltwise_fetch.tile_valid;
  assign advance = u_eltwise_fetch.advance;
  assign left = u_eltwise_fetch.u_tile_iterator.taken_q;
  assign own = commands[left[0]];
  assign tile = u_eltwise_fetch.tile;

  // The next rows of the tile (one, or as many as drain together), and the addresses of their
  // vectors.
  typedef struct packed {
    logic [DrainRows-1:0]                   wanted;
    logic [DrainRows-1:0][RowBits-1:0]      bank;
    logic [DrainRows-1:0][BankAddrBits-1:0] addr;
  } entry_t;
  logic [RowBits:0] row_q;
  entry_t entry;
  channel_t channel;
  word_t word;
  logic issue;
  assign issue = u_eltwise_fetch.issue;
  always_comb begin
    entry = '0;
    word = own.residual[3:2] == SpreadChannel ? '0 : 20'(own.word_first) + 20'(tile.number);
    for (int unsigned d = 0; d < DrainRows; d++) begin
      channel = own.residual[3:2] == SpreadPixel ? own.res_origin[12:0] :
          own.res_origin[12:0] + 13'(tile.channel) + 13'(row_q) + 13'(d);
      entry.wanted[d] = 6'(row_q) + 6'(d) < 6'(tile.rows);
      {entry.bank[d], entry.addr[d]} = {
        channel[RowBits-1:0],
        word[BankAddrBits-1:0] ^ BankAddrBits'(channel >> RowBits) ^ {BankAddrBits{left[0]}}
      };
    end
  end

  // Requested and not granted, oldest first; granted and not answered; answered and not handed out,
  // and of those the ones that are not promised; entries ahead of the marked one.
  logic [3:0] asked_q;
  entry_t [Ahead:0] asked_entries_q;
  logic [1:0] granted_q;
  logic [6:0] stored_q, free_q, ahead_q;
  logic marked_q;
  logic [DrainRows-1:0][8*Lanes-1:0] data_q;
  assign answer = granted_q[1];

  logic begun_q = 1'b0;
  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    if (take_cmd_i) begin
      commands[accepted[0]] <= cmd_i;
      accepted <= accepted + 2'd1;
    end
    if (finish_i) finished_q <= finished_q + 2'd1;
    if (issue) row_q <= advance ? '0 : row_q + (RowBits + 1)'(DrainRows);
    if (grant_i) for (int i = 0; i < Ahead; i++) asked_entries_q[i] <= asked_entries_q[i+1];
    if (issue) asked_entries_q[asked_q-4'(grant_i)] <= entry;
    asked_q <= asked_q + 4'(issue) - 4'(grant_i);
    granted_q <= {granted_q[0], grant_i};
    stored_q <= stored_q + 7'(answer) - 7'(pop_i);
    free_q <= free_q + 7'(answer) - 7'(take_i);
    if (marked_q && pop_i) begin
      ahead_q <= ahead_q - 7'd1;
      if (ahead_q == '0) marked_q <= 1'b0;
    end
    if (!marked_q && mark_i && answer) begin
      marked_q <= 1'b1;
      data_q <= rdata_i;
      ahead_q <= stored_q - 7'(pop_i);
    end
    if (!rst_ni) begin
      accepted <= '0;
      finished_q <= '0;
      row_q <= '0;
      asked_q <= '0;
      granted_q <= '0;
      stored_q <= '0;
      free_q <= '0;
      marked_q <= 1'b0;
    end
  end

  function automatic logic bounded(input exec_t c);
    return c.tiles != '0 && c.rows != '0 && c.out_channels != '0 && c.out_channels <= 16'd2047;
  endfunction

  logic [1:0] in_flight, walked;
  assign in_flight = accepted - finished_q;
  assign walked = left - finished_q;

  // Requests by place: at the arbiter, in the queue, in npu_addr_translate.
  logic [3:0] waiting, on_way;
  logic [3:0] place[4];
  assign waiting = 4'(request != '0);
  always_comb begin
    place[3] = waiting + (u_eltwise_fetch.waiting_q ?
                          4'(3'(u_eltwise_fetch.past_q - u_eltwise_fetch.first_q)) : 4'd0);
    for (int i = 2; i >= 0; i--)
    place[i] = place[i+1] + 4'(u_eltwise_fetch.wanted_pipe_q[i+1] != '0);
    on_way = place[0] + 4'(u_eltwise_fetch.wanted_pipe_q[0] != '0);
  end
  function automatic logic same(input entry_t a, input entry_t b);
    same = a.wanted == b.wanted;
    for (int unsigned d = 0; d < DrainRows; d++)
    if (a.wanted[d]) same = same && a.bank[d] == b.bank[d] && a.addr[d] == b.addr[d];
  endfunction
  // Marks in npu_addr_translate, by the time that they have spent there.
  logic [DrainRows-1:0][RowBits+BankAddrBits-1:0] marks[4];
  for (genvar d = 0; d < DrainRows; d++) begin : gen_marks
    assign marks[0][d] = {
      u_eltwise_fetch.channel_q[d][RowBits-1:0],
      u_eltwise_fetch.word_q[BankAddrBits-1:0] ^ BankAddrBits
          '(u_eltwise_fetch.channel_q[d] >> RowBits) ^ {BankAddrBits{u_eltwise_fetch.ctx_q}}
    };
    for (genvar i = 1; i < 4; i++)
      assign marks[i][d] = u_eltwise_fetch.gen_row[d].u_addr_translate.marks_q[i-1];
  end
  entry_t on_way_entry[4];
  always_comb begin
    for (int i = 0; i < 4; i++) begin
      on_way_entry[i].wanted = u_eltwise_fetch.wanted_pipe_q[i];
      for (int unsigned d = 0; d < DrainRows; d++)
      {on_way_entry[i].bank[d], on_way_entry[i].addr[d]} = marks[i][d];
    end
  end

  localparam int unsigned Bits = $clog2(Depth);
  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (take_cmd_i) assume (in_flight < 2'd2 && bounded(cmd_i));
    if (finish_i) assume (walked != '0);
    if (grant_i) assume (request != '0);
    // Tiles are promised entries that are present, and take what they were promised.
    assume (7'(take_i) <= free_q);
    if (pop_i) assume (stored_q > free_q);

    if (begun_q) begin
      // The next rows of the tile are requested; after its last rows the iterator advances.
      if (issue)
        assert (tile_valid && row_q < tile.rows &&
                advance == (6'(row_q) + 6'(DrainRows) >= 6'(tile.rows)));
        else assert (!advance);
      // Requests reach the arbiter in order, each once, and wait there for their grant.
      if (request != '0)
        assert (asked_q != '0 && same(
            '{wanted: request, bank: bank, addr: addr}, asked_entries_q[0]
        ));
      // Entries are handed out in the order of their arrival.
      if (marked_q && ahead_q == '0) assert (head == data_q);
      // There is room for every answer, and the sequencer knows the level.
      assert (stored_q <= 7'(Depth) && (!answer || stored_q < 7'(Depth)));
      assert (level == free_q);
      // A tile requests as long as fewer than eight requests wait and the queue has room for all
      // that were requested.
      if (tile_valid && asked_q < 4'(Ahead) &&
          7'(asked_q) + 7'(granted_q[0]) + 7'(answer) + stored_q < 7'(Depth))
        assert (issue);
      // A request is at the arbiter four cycles later, or waits behind another.
      if (asked_q != '0 && u_eltwise_fetch.wanted_pipe_q == '0) assert (request != '0);

      // Invariants for the induction.
      assert (in_flight <= 2'd2 && walked <= in_flight);
      for (int i = 0; i < 2; i++)
      if (in_flight > 2'(i)) assert (bounded(commands[finished_q[0]^1'(i)]));
      if (tile_valid) begin
        assert (left != accepted && tile.rows != '0 && 32'(tile.rows) <= Rows);
        assert (u_eltwise_fetch.u_tile_iterator.groups_left_q != '0);
        assert (u_eltwise_fetch.u_tile_iterator.rest_last_q ==
                (u_eltwise_fetch.u_tile_iterator.groups_left_q == 11'd1));
        assert (row_q < tile.rows);
      end else assert (row_q == '0);
      assert (u_eltwise_fetch.index_q == row_q && 4'(u_eltwise_fetch.outstanding_q) == asked_q &&
              asked_q <= 4'(Ahead));
      assert (32'(u_eltwise_fetch.credit_q) + 32'(asked_q) + 32'(granted_q[0]) + 32'(answer) +
              32'(stored_q) == Depth);
      assert (free_q <= stored_q);
      assert (on_way == asked_q);
      if (u_eltwise_fetch.waiting_q)
        assert (request != '0 && u_eltwise_fetch.past_q != u_eltwise_fetch.first_q);
        else assert (u_eltwise_fetch.past_q == u_eltwise_fetch.first_q);
      for (int unsigned i = 0; i < Ahead - 1; i++)
      if (4'(i) + waiting < place[3])
        assert (same(
            u_eltwise_fetch.queue[u_eltwise_fetch.first_q+3'(i)], asked_entries_q[4'(i)+waiting]
        ) && u_eltwise_fetch.queue[u_eltwise_fetch.first_q+3'(i)].wanted != '0);
      for (int i = 0; i < 4; i++)
      if (u_eltwise_fetch.wanted_pipe_q[i] != '0)
        assert (same(on_way_entry[i], asked_entries_q[place[i]]));
      assert (Bits'(u_eltwise_fetch.tail_q - u_eltwise_fetch.head_q) == Bits'(stored_q));
      if (marked_q)
        assert (ahead_q < stored_q &&
                u_eltwise_fetch.fifo[u_eltwise_fetch.head_q+Bits'(ahead_q)] == data_q);
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (asked_q == 4'(Ahead) && place[3] == 4'd7 && grant_i);
      cover (issue && advance && tile.rows == (RowBits + 1)'(3) && left == 2'd1);
      cover (marked_q && ahead_q == '0 && pop_i && stored_q == 7'd3);
    end
  end
endmodule
