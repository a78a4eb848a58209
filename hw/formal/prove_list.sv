// npu_list: every tile of a sparse command gets its group's list, whole, in order, each word once; lists of
// neighbouring groups lie behind each other; a list has no more words than the map has channels, whatever lies
// in the memory.
//
// A list of the group's first tile ends with a marked word, or where it has as many words as channels; for the
// other tiles it is read again, from the same place and as long. The model follows the words as they come from
// memory, which may answer anything, through what is on its way behind them to the place where reading has come
// to. A tile is what npu_tiles says it is (`tiles`).
module prove_list (
  input logic           clk,
  input logic           rst,
  // A command is accepted; one is finished.
  input logic           take,
  input npu_pkg::exec_t cmd,
  input logic           finish,
  // The memory's answer to the read of the cycle before.
  input logic [7:0]     control,
  input logic           pop
);
  import npu_pkg::*;
  import npu_core_pkg::*;

  localparam int unsigned AddrBits = WeightAddrBits;
  typedef logic [AddrBits-1:0] addr_t;

  exec_t  commands [2];
  // What the core keeps of a command beside it, worked out when it is taken.
  shape_t shapes [2];
  assign shapes[0] = shape_of(commands[0]);
  assign shapes[1] = shape_of(commands[1]);
  logic [1:0] accepted, finished_q;
  logic       read, valid, last;
  addr_t      addr;
  logic [6:0] skip;

  npu_list u_list (.*);

  // The walker: a list is wanted for its tile; it goes on to the next.
  logic       walking, advance, group_last, command_last;
  logic [1:0] left;
  exec_t      own;
  assign walking      = u_list.walking;
  assign advance      = u_list.advance;
  assign group_last   = u_list.group_last;
  assign command_last = u_list.command_last;
  assign left         = u_list.u_tiles.taken_q;
  assign own          = commands[left[0]];

  // Fields of a command that a list knows.
  typedef struct packed {
    addr_t       base;
    logic [7:0]  taps;
    logic [10:0] channels;
  } fields_t;
  function automatic fields_t fields(input exec_t c);
    return '{base: c.weight_base[AddrBits-1:0], taps: small_product(c.k[3:0], c.k[3:0]), channels: c.in_channels[10:0]};
  endfunction

  // A word's place.
  typedef struct packed {
    logic        fresh;  // the first of a command
    logic        opens;  // in the list of a group's first tile
    addr_t       start;  // of the list
    addr_t       addr;   // of the word
    logic [11:0] index;  // within the list, or up to two words behind the longest
    logic [11:0] length; // of the list where it was read before
    logic [2:0]  tile;   // number of the tile
  } place_t;
  function automatic addr_t at(input place_t p, input fields_t f);
    return p.fresh ? f.base : p.addr;
  endfunction
  // Where the next word lies, if this one is its list's last or is not, in a tile with such an end.
  function automatic place_t behind(input place_t p, input fields_t f, input logic ends, input logic group_ends,
                                    input logic command_ends);
    place_t n;
    addr_t  start, after;
    logic [AddrBits:0] sum;
    start = p.opens && p.index == '0 ? at(p, f) : p.start;
    sum   = {1'b0, at(p, f)} + (AddrBits + 1)'(f.taps);
    after = sum >= (AddrBits + 1)'(WeightWords) ? AddrBits'(sum - (AddrBits + 1)'(WeightWords)) : sum[AddrBits-1:0];
    n       = p;
    n.fresh = 1'b0;
    n.start = start;
    n.addr  = after;
    n.index = p.index + 12'd1;
    if (ends) begin
      n.index = '0;
      n.tile  = p.tile + 3'd1;
      n.opens = group_ends;
      n.fresh = command_ends;
      if (p.opens) n.length = p.index + 12'd1;
      if (!group_ends) n.addr = start;
    end
    return n;
  endfunction

  // Words on their way: asked for in the last cycle, come in this one. With those of a list that was read before:
  // the tile's ends, should the word be the list's last.
  typedef struct packed {
    addr_t   addr;
    fields_t own;
    logic    group_last;
    logic    command_last;
  } word_t;
  word_t      asked_q, come_q;
  logic       asked, come, open, asked_known;
  logic [7:0] control_q;
  assign asked       = u_list.read_q.valid;
  assign asked_known = u_list.read_known_q;
  assign come        = u_list.come_q.valid;
  assign open        = u_list.open_q;

  // Place of the word that has come, or comes next; the tile's number.
  place_t     place_q, place_next, place_asked, place_read;
  logic [2:0] tile_q;
  logic       ends, found;
  assign ends = place_q.opens ? control_q[7] || place_q.index + 12'd1 == 12'(come_q.own.channels)
      : place_q.index + 12'd1 == place_q.length;
  assign found = come && open && ends;
  assign place_next = !come ? place_q : behind(place_q, come_q.own, ends, open ? group_last : come_q.group_last,
      open ? command_last : come_q.command_last);
  // Reading ahead takes it that an open list goes on.
  assign place_asked = !come ? place_q : behind(place_q, come_q.own, !open && ends, come_q.group_last,
      come_q.command_last);
  assign place_read = !asked ? place_asked : behind(place_asked, asked_q.own,
      asked_known && place_asked.index + 12'd1 == place_asked.length, asked_q.group_last, asked_q.command_last);

  // The words that wait, oldest first.
  localparam int unsigned Depth = 8;
  logic [3:0]          waiting_q;
  logic [Depth:0][7:0] words_q;
  // Cycles in which a tile waits for its list and there is no word.
  logic [3:0] starved_q;

  logic begun_q = 1'b0;
  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    if (take) begin
      commands[accepted[0]] <= cmd;
      accepted <= accepted + 2'd1;
    end
    if (finish) finished_q <= finished_q + 2'd1;
    asked_q   <= '{addr: addr, own: fields(own), group_last: group_last, command_last: command_last};
    come_q    <= asked_q;
    control_q <= control;
    place_q   <= place_next;
    tile_q    <= tile_q + 3'(advance);
    if (pop) for (int i = 0; i < Depth; i++) words_q[i] <= words_q[i+1];
    if (come) words_q[waiting_q - 4'(pop)] <= {ends, control_q[6:0]};
    waiting_q <= waiting_q + 4'(come) - 4'(pop);
    starved_q <= walking && !valid ? starved_q + 4'd1 : '0;
    if (rst) begin
      accepted   <= '0;
      finished_q <= '0;
      place_q.fresh <= 1'b1;
      place_q.opens <= 1'b1;
      place_q.index <= '0;
      place_q.tile  <= '0;
      tile_q     <= '0;
      waiting_q  <= '0;
      starved_q  <= '0;
    end
  end

  function automatic logic bounded(input exec_t c);
    return c.tiles != '0 && c.rows != '0 && c.out_channels != '0 && c.out_channels <= 16'd2047 && c.k != '0
        && c.k < 8'd16 && 32'(c.weight_base) < WeightWords
        && (!c.flags[ExecFlagSparse] || (c.mode == ModeDense && c.in_channels != '0 && c.in_channels <= 16'd2047));
  endfunction

  logic [1:0] in_flight, walked;
  assign in_flight = accepted - finished_q;
  assign walked    = left - finished_q;

  always_comb begin
    if (!begun_q) assume (rst);
    if (take) assume (in_flight < 2'd2 && bounded(cmd));
    if (finish) assume (walked != '0);
    if (pop) assume (valid);

    if (begun_q) begin
      // A word that comes is the next of its tile's list.
      if (come) begin
        assert (come_q.addr == at(place_q, come_q.own));
        if (open) assert (place_q.index < 12'(come_q.own.channels));
        assert (open == place_q.opens && u_list.ends == ends);
      end
      // An open list ends for the walker where it ends.
      assert (u_list.found == found);
      // What has come is handed out, in order.
      assert (waiting_q <= 4'(Depth) && (waiting_q != '0) == valid);
      if (valid) assert ({last, skip} == words_q[0]);
      // A tile does not wait for long.
      assert (starved_q <= 4'd3);

      // What the induction needs.
      assert (in_flight <= 2'd2 && walked <= in_flight);
      for (int i = 0; i < 2; i++) if (in_flight > 2'(i)) assert (bounded(commands[finished_q[0] ^ 1'(i)]));
      if (walking) begin
        assert (left != accepted && own.flags[ExecFlagSparse]);
        assert (u_list.taps_q == fields(own).taps && u_list.back_q == (AddrBits + 2)'(fields(own).taps)
          - (AddrBits + 2)'(WeightWords));
      end
      assert (4'(u_list.level_q) == waiting_q + 4'(come) + 4'(asked) && u_list.level_q <= 4'(Depth));
      assert (u_list.stored_q + 4'(valid) == waiting_q);
      assert (u_list.tail_q == 3'(u_list.head_q + 3'(u_list.stored_q)));
      for (int unsigned i = 0; i < Depth; i++)
        if (4'(i) < u_list.stored_q) assert (u_list.fifo[u_list.head_q + 3'(i)] == words_q[i+1]);
      // Words on their way.
      if (come) begin
        assert (control_q == u_list.control_q && (!open || u_list.come_q.index == place_q.index[10:0]));
        assert (u_list.come_q.last == (open ? place_q.index + 12'd1 == 12'(come_q.own.channels) : ends));
      end else assert (!open);
      if (asked) begin
        assert (asked_q.addr == u_list.read_addr_q && asked_q.addr == at(place_asked, asked_q.own));
        assert (asked_known == !place_asked.opens);
        if (!asked_known) assert (u_list.read_q.index == place_asked.index[10:0]);
        assert (u_list.read_q.last == (asked_known ? place_asked.index + 12'd1 == place_asked.length
          : place_asked.index + 12'd1 == 12'(asked_q.own.channels)));
      end
      // Where reading has come to.
      assert (place_read.tile == tile_q);
      assert (u_list.fresh_q == place_read.fresh && u_list.known_q == !place_read.opens);
      if (!place_read.fresh) assert (u_list.next_q == place_read.addr && 32'(place_read.addr) < WeightWords);
      if (!place_read.opens || place_read.index != '0) assert (32'(place_read.start) < WeightWords);
      if (place_read.opens) assert (u_list.index_q == place_read.index[10:0]);
      else begin
        assert (12'(u_list.length_q) == place_read.length);
        assert (12'(u_list.left_q) == place_read.length - place_read.index);
        assert (u_list.known_last_q == (place_read.index + 12'd1 == place_read.length));
        assert (place_read.index < place_read.length);
      end
      if (!place_read.fresh)
        assert (u_list.slice_q == (place_read.opens && place_read.index == '0 ? place_read.addr : place_read.start));
      if (place_read.fresh) assert (place_read.opens && place_read.index == '0);
      else assert (walking);
      // An open word is of the tile at which the walker stands.
      if (open || (asked && !asked_known)) assert (walking && !u_list.known_q);
      if (open) assert (come_q.own == fields(own));
      if (place_q.opens && place_q.index != '0) assert (walking && place_q.index < 12'(fields(own).channels));
      if (asked && !asked_known) assert (asked_q.own == fields(own));
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (come && open && ends && !group_last && place_q.index == 12'd2);
      cover (come && !open && ends && come_q.group_last && !come_q.command_last);
      cover (found && asked && group_last && !command_last && place_q.index != '0);
      cover (found && !control_q[7] && place_q.index == 12'd2);
      cover (waiting_q == 4'(Depth) && pop);
      cover (walking && place_q.tile == 3'd3 && left == 2'd1);
    end
  end
endmodule
