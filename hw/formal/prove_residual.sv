// npu_residual: each tile asks for the words of its rows, in order, each once, and they are handed out in that
// order; the queue never overflows; `level` counts the words that are there and not yet promised; a tile that
// finds room asks at once.
//
// Of the address the model knows that npu_locate makes it of command, channel and word, three cycles later. The
// ports answer two cycles after the grant (`ports`); a tile is what npu_tiles says it is (`tiles`).
module prove_residual (
  input logic           clk,
  input logic           rst,
  // A command is accepted; one is finished.
  input logic           take_cmd,
  input npu_pkg::exec_t cmd,
  input logic           finish,
  input logic           grant,
  input logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] data,
  // The word that is followed through the queue.
  input logic           mark,
  input logic [npu_pkg::RowBits:0] take,
  input logic           pop
);
  import npu_pkg::*;
  import npu_core_pkg::*;

  localparam int unsigned Ahead = 8;
  localparam int unsigned Depth = SecondDepth;

  exec_t  commands [2];
  // What the core keeps of a command beside it, worked out when it is taken.
  shape_t shapes [2];
  assign shapes[0] = shape_of(commands[0]);
  assign shapes[1] = shape_of(commands[1]);
  logic [1:0] accepted, finished_q;
  logic [DrainRows-1:0] request;
  logic [DrainRows-1:0][RowBits-1:0] bank;
  logic [DrainRows-1:0][BankAddrBits-1:0] addr;
  logic answer;
  second_count_t level;
  logic [DrainRows-1:0][8*Lanes-1:0] head;

  npu_residual u_residual (.*);

  logic       walking, advance;
  logic [1:0] left;
  exec_t      own;
  tile_t      tile;
  assign walking = u_residual.walking;
  assign advance = u_residual.advance;
  assign left    = u_residual.u_tiles.taken_q;
  assign own     = commands[left[0]];
  assign tile    = u_residual.tile;

  // The rows of the tile that come next, one or as many as drain together, and where their words lie.
  typedef struct packed {
    logic [DrainRows-1:0]                    wanted;
    logic [DrainRows-1:0][RowBits-1:0]       bank;
    logic [DrainRows-1:0][BankAddrBits-1:0]  addr;
  } entry_t;
  logic [RowBits:0] row_q;
  entry_t           entry;
  channel_t         channel;
  word_t            word;
  logic             issue;
  assign issue = u_residual.issue;
  always_comb begin
    entry = '0;
    word  = own.residual[3:2] == SpreadChannel ? '0 : 20'(own.word_first) + 20'(tile.number);
    for (int unsigned d = 0; d < DrainRows; d++) begin
      channel = own.residual[3:2] == SpreadPixel ? own.res_origin[12:0]
          : own.res_origin[12:0] + 13'(tile.channel) + 13'(row_q) + 13'(d);
      entry.wanted[d] = 6'(row_q) + 6'(d) < 6'(tile.rows);
      {entry.bank[d], entry.addr[d]} = {channel[RowBits-1:0],
        word[BankAddrBits-1:0] ^ BankAddrBits'(channel >> RowBits) ^ {BankAddrBits{left[0]}}};
    end
  end

  // Asked for and not granted, oldest first; granted and not answered; answered and not handed out, and of those
  // the ones that no tile has been promised; what lies ahead of the marked one.
  logic [3:0]           asked_q;
  entry_t [Ahead:0]     asked_entries_q;
  logic [1:0]           granted_q;
  logic [6:0]           stored_q, free_q, ahead_q;
  logic                 marked_q;
  logic [DrainRows-1:0][8*Lanes-1:0] data_q;
  assign answer = granted_q[1];

  logic begun_q = 1'b0;
  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    if (take_cmd) begin
      commands[accepted[0]] <= cmd;
      accepted <= accepted + 2'd1;
    end
    if (finish) finished_q <= finished_q + 2'd1;
    if (issue) row_q <= advance ? '0 : row_q + (RowBits + 1)'(DrainRows);
    if (grant) for (int i = 0; i < Ahead; i++) asked_entries_q[i] <= asked_entries_q[i+1];
    if (issue) asked_entries_q[asked_q - 4'(grant)] <= entry;
    asked_q   <= asked_q + 4'(issue) - 4'(grant);
    granted_q <= {granted_q[0], grant};
    stored_q  <= stored_q + 7'(answer) - 7'(pop);
    free_q    <= free_q + 7'(answer) - 7'(take);
    if (marked_q && pop) begin
      ahead_q <= ahead_q - 7'd1;
      if (ahead_q == '0) marked_q <= 1'b0;
    end
    if (!marked_q && mark && answer) begin
      marked_q <= 1'b1;
      data_q   <= data;
      ahead_q  <= stored_q - 7'(pop);
    end
    if (rst) begin
      accepted   <= '0;
      finished_q <= '0;
      row_q      <= '0;
      asked_q    <= '0;
      granted_q  <= '0;
      stored_q   <= '0;
      free_q     <= '0;
      marked_q   <= 1'b0;
    end
  end

  function automatic logic bounded(input exec_t c);
    return c.tiles != '0 && c.rows != '0 && c.out_channels != '0 && c.out_channels <= 16'd2047;
  endfunction

  logic [1:0] in_flight, walked;
  assign in_flight = accepted - finished_q;
  assign walked    = left - finished_q;

  // Requests by where they are: at the ports, in the queue behind, on their way through npu_locate.
  logic [3:0] waiting, on_way;
  logic [3:0] place [4];
  assign waiting = 4'(request != '0);
  always_comb begin
    place[3] = waiting + (u_residual.waiting_q ? 4'(3'(u_residual.past_q - u_residual.first_q)) : 4'd0);
    for (int i = 2; i >= 0; i--) place[i] = place[i+1] + 4'(u_residual.flow_q[i+1] != '0);
    on_way = place[0] + 4'(u_residual.flow_q[0] != '0);
  end
  function automatic logic same(input entry_t a, input entry_t b);
    same = a.wanted == b.wanted;
    for (int unsigned d = 0; d < DrainRows; d++)
      if (a.wanted[d]) same = same && a.bank[d] == b.bank[d] && a.addr[d] == b.addr[d];
  endfunction
  // Marks on their way through npu_locate, by the time that they have spent there.
  logic [DrainRows-1:0][RowBits+BankAddrBits-1:0] marks [4];
  for (genvar d = 0; d < DrainRows; d++) begin : g_marks
    assign marks[0][d] = {u_residual.channel_q[d][RowBits-1:0], u_residual.word_q[BankAddrBits-1:0]
      ^ BankAddrBits'(u_residual.channel_q[d] >> RowBits) ^ {BankAddrBits{u_residual.side_q}}};
    for (genvar i = 1; i < 4; i++) assign marks[i][d] = u_residual.gen_row[d].u_locate.marks_q[i-1];
  end
  entry_t on_way_entry [4];
  always_comb begin
    for (int i = 0; i < 4; i++) begin
      on_way_entry[i].wanted = u_residual.flow_q[i];
      for (int unsigned d = 0; d < DrainRows; d++)
        {on_way_entry[i].bank[d], on_way_entry[i].addr[d]} = marks[i][d];
    end
  end

  localparam int unsigned Bits = $clog2(Depth);
  always_comb begin
    if (!begun_q) assume (rst);
    if (take_cmd) assume (in_flight < 2'd2 && bounded(cmd));
    if (finish) assume (walked != '0);
    if (grant) assume (request != '0);
    // Tiles are promised what is there, and take what they were promised.
    assume (7'(take) <= free_q);
    if (pop) assume (stored_q > free_q);

    if (begun_q) begin
      // What is asked for is the next rows of the tile; it goes on to the next one behind the last.
      if (issue) assert (walking && row_q < tile.rows && advance == (6'(row_q) + 6'(DrainRows) >= 6'(tile.rows)));
      else assert (!advance);
      // Requests reach the ports in order, each once, and wait there for their grant.
      if (request != '0)
        assert (asked_q != '0 && same('{wanted: request, bank: bank, addr: addr}, asked_entries_q[0]));
      // Words are handed out in the order in which they come.
      if (marked_q && ahead_q == '0) assert (head == data_q);
      // There is room for every answer, and the sequencer knows what is there.
      assert (stored_q <= 7'(Depth) && (!answer || stored_q < 7'(Depth)));
      assert (level == free_q);
      // A tile asks as long as no eight requests wait and the queue has room for all that was asked for.
      if (walking && asked_q < 4'(Ahead) && 7'(asked_q) + 7'(granted_q[0]) + 7'(answer) + stored_q < 7'(Depth))
        assert (issue);
      // A request stands at the ports four cycles later, or waits behind one.
      if (asked_q != '0 && u_residual.flow_q == '0) assert (request != '0);

      // What the induction needs.
      assert (in_flight <= 2'd2 && walked <= in_flight);
      for (int i = 0; i < 2; i++) if (in_flight > 2'(i)) assert (bounded(commands[finished_q[0] ^ 1'(i)]));
      if (walking) begin
        assert (left != accepted && tile.rows != '0 && 32'(tile.rows) <= Rows);
        assert (u_residual.u_tiles.groups_left_q != '0);
        assert (u_residual.u_tiles.rest_last_q == (u_residual.u_tiles.groups_left_q == 11'd1));
        assert (row_q < tile.rows);
      end else assert (row_q == '0);
      assert (u_residual.index_q == row_q && 4'(u_residual.asked_q) == asked_q && asked_q <= 4'(Ahead));
      assert (32'(u_residual.credit_q) + 32'(asked_q) + 32'(granted_q[0]) + 32'(answer) + 32'(stored_q) == Depth);
      assert (free_q <= stored_q);
      assert (on_way == asked_q);
      if (u_residual.waiting_q) assert (request != '0 && u_residual.past_q != u_residual.first_q);
      else assert (u_residual.past_q == u_residual.first_q);
      for (int unsigned i = 0; i < Ahead - 1; i++)
        if (4'(i) + waiting < place[3])
          assert (same(u_residual.queue[u_residual.first_q + 3'(i)], asked_entries_q[4'(i) + waiting])
            && u_residual.queue[u_residual.first_q + 3'(i)].wanted != '0);
      for (int i = 0; i < 4; i++)
        if (u_residual.flow_q[i] != '0) assert (same(on_way_entry[i], asked_entries_q[place[i]]));
      assert (Bits'(u_residual.tail_q - u_residual.head_q) == Bits'(stored_q));
      if (marked_q)
        assert (ahead_q < stored_q && u_residual.fifo[u_residual.head_q + Bits'(ahead_q)] == data_q);
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (asked_q == 4'(Ahead) && place[3] == 4'd7 && grant);
      cover (issue && advance && tile.rows == (RowBits + 1)'(3) && left == 2'd1);
      cover (marked_q && ahead_q == '0 && pop && stored_q == 7'd3);
    end
  end
endmodule
