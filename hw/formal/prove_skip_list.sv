// npu_skip_list: every tile of a sparse command gets its group's list, whole, in order, each entry
// once; lists of consecutive groups are consecutive in memory; a list has no more entries than the
// map has channels, whatever the memory contains.
//
// The list of a group's first tile ends at a marked entry, or after as many entries as channels;
// for the other tiles it is read again, from the same address and of the same length. The model
// follows the entries from the memory, which may answer anything, through those in flight to the
// current read address. A tile is what npu_tile_iterator says it is (`tile-iterator`).
module prove_skip_list (
  input logic                 clk_i,
  input logic                 rst_ni,
  // A command is accepted; a command is finished.
  input logic                 take_i,
  input npu_pkg::exec_t       cmd_i,
  input logic                 finish_i,
  // The memory's answer to the read of the previous cycle.
  input logic           [7:0] control_i,
  input logic                 pop_i
);
  import npu_pkg::*;
  import npu_core_pkg::*;

  localparam int unsigned AddrBits = WeightAddrBits;
  typedef logic [AddrBits-1:0] addr_t;

  exec_t commands[2];
  // The core keeps these values with a command; they are computed when it is accepted.
  shape_t shapes[2];
  assign shapes[0] = shape_of(commands[0]);
  assign shapes[1] = shape_of(commands[1]);
  logic [1:0] accepted, finished_q;
  logic read, valid, last;
  addr_t addr;
  logic [6:0] skip;

  npu_skip_list u_skip_list (
    .clk_i,
    .rst_ni,
    .commands_i(commands),
    .shapes_i  (shapes),
    .accepted_i(accepted),
    .read_o    (read),
    .addr_o    (addr),
    .control_i,
    .valid_o   (valid),
    .skip_o    (skip),
    .last_o    (last),
    .pop_i
  );

  // The iterator: its tile needs a list; it advances to the next tile.
  logic tile_valid, advance, group_last, command_last;
  logic [1:0] left;
  exec_t own;
  assign tile_valid = u_skip_list.tile_valid;
  assign advance = u_skip_list.advance;
  assign group_last = u_skip_list.group_last;
  assign command_last = u_skip_list.command_last;
  assign left = u_skip_list.u_tile_iterator.taken_q;
  assign own = commands[left[0]];

  // Fields of a command that a list depends on.
  typedef struct packed {
    addr_t       base;
    logic [7:0]  taps;
    logic [10:0] channels;
  } fields_t;
  function automatic fields_t fields(input exec_t c);
    return
    '{
        base: c.weight_base[AddrBits-1:0],
        taps: small_product(c.k[3:0], c.k[3:0]),
        channels: c.in_channels[10:0]
    }
    ;
  endfunction

  // Position of an entry.
  typedef struct packed {
    logic        fresh;   // first of a command
    logic        opens;   // in the list of a group's first tile
    addr_t       start;   // address of the list
    addr_t       addr;    // address of the entry
    logic [11:0] index;   // within the list, or up to two entries after the longest one
    logic [11:0] length;  // of the list where it was read before
    logic [2:0]  tile;    // tile number
  } layout_t;
  function automatic addr_t at(input layout_t p, input fields_t f);
    return p.fresh ? f.base : p.addr;
  endfunction
  // Returns the next entry's position, given whether this entry is its list's last and whether the
  // tile ends its group.
  function automatic layout_t behind(input layout_t p, input fields_t f, input logic ends,
                                     input logic group_ends, input logic command_ends);
    layout_t n;
    addr_t start, after;
    logic [AddrBits:0] sum;
    start = p.opens && p.index == '0 ? at(p, f) : p.start;
    sum = {1'b0, at(p, f)} + (AddrBits + 1)'(f.taps);
    after = sum >= (AddrBits + 1)'(WeightWords) ? AddrBits'(sum - (AddrBits + 1)'(WeightWords)) :
        sum[AddrBits-1:0];
    n = p;
    n.fresh = 1'b0;
    n.start = start;
    n.addr = after;
    n.index = p.index + 12'd1;
    if (ends) begin
      n.index = '0;
      n.tile = p.tile + 3'd1;
      n.opens = group_ends;
      n.fresh = command_ends;
      if (p.opens) n.length = p.index + 12'd1;
      if (!group_ends) n.addr = start;
    end
    return n;
  endfunction

  // Entries in flight: requested in the previous cycle, arriving in this one. For lists that were
  // read before, also how the tile ends if the entry is the list's last.
  typedef struct packed {
    addr_t   addr;
    fields_t own;
    logic    group_last;
    logic    command_last;
  } word_t;
  word_t asked_q, come_q;
  logic asked, come, open, asked_known;
  logic [7:0] control_q;
  assign asked = u_skip_list.read_q.valid;
  assign asked_known = u_skip_list.read_known_q;
  assign come = u_skip_list.arrived_q.valid;
  assign open = u_skip_list.open_q;

  // Position of the entry that arrived or arrives next; tile number.
  layout_t place_q, place_next, place_asked, place_read;
  logic [2:0] tile_q;
  logic ends, found;
  assign ends = place_q.opens ? control_q[7] || place_q.index + 12'd1 == 12'(come_q.own.channels) :
      place_q.index + 12'd1 == place_q.length;
  assign found = come && open && ends;
  assign place_next = !come ? place_q : behind(
      place_q,
      come_q.own,
      ends,
      open ? group_last : come_q.group_last,
      open ? command_last : come_q.command_last
  );
  // Reading ahead assumes that an open list continues.
  assign place_asked = !come ? place_q : behind(
      place_q, come_q.own, !open && ends, come_q.group_last, come_q.command_last
  );
  assign place_read = !asked ? place_asked : behind(
      place_asked,
      asked_q.own,
      asked_known && place_asked.index + 12'd1 == place_asked.length,
      asked_q.group_last,
      asked_q.command_last
  );

  // Entries that wait, oldest first.
  localparam int unsigned Depth = 8;
  logic [3:0] waiting_q;
  logic [Depth:0][7:0] words_q;
  // Cycles in which a tile waits for its list while no entry is present.
  logic [3:0] starved_q;

  logic begun_q = 1'b0;
  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    if (take_i) begin
      commands[accepted[0]] <= cmd_i;
      accepted <= accepted + 2'd1;
    end
    if (finish_i) finished_q <= finished_q + 2'd1;
    asked_q <= '{
        addr: addr,
        own: fields(own),
        group_last: group_last,
        command_last: command_last
    };
    come_q <= asked_q;
    control_q <= control_i;
    place_q <= place_next;
    tile_q <= tile_q + 3'(advance);
    if (pop_i) for (int i = 0; i < Depth; i++) words_q[i] <= words_q[i+1];
    if (come) words_q[waiting_q-4'(pop_i)] <= {ends, control_q[6:0]};
    waiting_q <= waiting_q + 4'(come) - 4'(pop_i);
    starved_q <= tile_valid && !valid ? starved_q + 4'd1 : '0;
    if (!rst_ni) begin
      accepted <= '0;
      finished_q <= '0;
      place_q.fresh <= 1'b1;
      place_q.opens <= 1'b1;
      place_q.index <= '0;
      place_q.tile <= '0;
      tile_q <= '0;
      waiting_q <= '0;
      starved_q <= '0;
    end
  end

  function automatic logic bounded(input exec_t c);
    return c.tiles != '0 && c.rows != '0 && c.out_channels != '0 && c.out_channels <= 16'd2047 &&
        c.k != '0 && c.k < 8'd16 && 32'(c.weight_base) < WeightWords &&
        (!c.flags[ExecFlagSparse] ||
         (c.mode == ModeDense && c.in_channels != '0 && c.in_channels <= 16'd2047));
  endfunction

  logic [1:0] in_flight, walked;
  assign in_flight = accepted - finished_q;
  assign walked = left - finished_q;

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (take_i) assume (in_flight < 2'd2 && bounded(cmd_i));
    if (finish_i) assume (walked != '0);
    if (pop_i) assume (valid);

    if (begun_q) begin
      // An arriving entry is the next one of its tile's list.
      if (come) begin
        assert (come_q.addr == at(place_q, come_q.own));
        if (open) assert (place_q.index < 12'(come_q.own.channels));
        assert (open == place_q.opens && u_skip_list.ends == ends);
      end
      // An open list ends for the iterator where it ends.
      assert (u_skip_list.found == found);
      // Arrived entries are handed out in order.
      assert (waiting_q <= 4'(Depth) && (waiting_q != '0) == valid);
      if (valid) assert ({last, skip} == words_q[0]);
      // A tile waits only a bounded time.
      assert (starved_q <= 4'd3);

      // Invariants for the induction.
      assert (in_flight <= 2'd2 && walked <= in_flight);
      for (int i = 0; i < 2; i++)
      if (in_flight > 2'(i)) assert (bounded(commands[finished_q[0]^1'(i)]));
      if (tile_valid) begin
        assert (left != accepted && own.flags[ExecFlagSparse]);
        assert (u_skip_list.taps_q == fields(
            own
        ).taps && u_skip_list.back_q == (AddrBits + 2)'(fields(
            own
        ).taps) - (AddrBits + 2)'(WeightWords));
      end
      assert (4'(u_skip_list.level_q) == waiting_q + 4'(come) + 4'(asked) &&
              u_skip_list.level_q <= 4'(Depth));
      assert (u_skip_list.stored_q + 4'(valid) == waiting_q);
      assert (u_skip_list.tail_q == 3'(u_skip_list.head_q + 3'(u_skip_list.stored_q)));
      for (int unsigned i = 0; i < Depth; i++)
      if (4'(i) < u_skip_list.stored_q)
        assert (u_skip_list.fifo[u_skip_list.head_q+3'(i)] == words_q[i+1]);
      // Entries in flight.
      if (come) begin
        assert (control_q == u_skip_list.control_q &&
                (!open || u_skip_list.arrived_q.index == place_q.index[10:0]));
        assert (u_skip_list.arrived_q.last ==
                (open ? place_q.index + 12'd1 == 12'(come_q.own.channels) : ends));
      end else assert (!open);
      if (asked) begin
        assert (asked_q.addr == u_skip_list.read_addr_q && asked_q.addr == at(
            place_asked, asked_q.own
        ));
        assert (asked_known == !place_asked.opens);
        if (!asked_known) assert (u_skip_list.read_q.index == place_asked.index[10:0]);
        assert (u_skip_list.read_q.last ==
                (asked_known ? place_asked.index + 12'd1 == place_asked.length :
                 place_asked.index + 12'd1 == 12'(asked_q.own.channels)));
      end
      // The current read address.
      assert (place_read.tile == tile_q);
      assert (u_skip_list.fresh_q == place_read.fresh && u_skip_list.known_q == !place_read.opens);
      if (!place_read.fresh)
        assert (u_skip_list.next_q == place_read.addr && 32'(place_read.addr) < WeightWords);
      if (!place_read.opens || place_read.index != '0) assert (32'(place_read.start) < WeightWords);
      if (place_read.opens)
        assert (u_skip_list.index_q == place_read.index[10:0]);
        else begin
          assert (12'(u_skip_list.length_q) == place_read.length);
          assert (12'(u_skip_list.left_q) == place_read.length - place_read.index);
          assert (u_skip_list.known_last_q == (place_read.index + 12'd1 == place_read.length));
          assert (place_read.index < place_read.length);
        end
      if (!place_read.fresh)
        assert (u_skip_list.slice_q ==
                (place_read.opens && place_read.index == '0 ? place_read.addr : place_read.start));
      if (place_read.fresh)
        assert (place_read.opens && place_read.index == '0);
        else assert (tile_valid);
      // An open entry belongs to the iterator's current tile.
      if (open || (asked && !asked_known)) assert (tile_valid && !u_skip_list.known_q);
      if (open) assert (come_q.own == fields(own));
      if (place_q.opens && place_q.index != '0)
        assert (tile_valid && place_q.index < 12'(fields(own).channels));
      if (asked && !asked_known) assert (asked_q.own == fields(own));
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (come && open && ends && !group_last && place_q.index == 12'd2);
      cover (come && !open && ends && come_q.group_last && !come_q.command_last);
      cover (found && asked && group_last && !command_last && place_q.index != '0);
      cover (found && !control_q[7] && place_q.index == 12'd2);
      cover (waiting_q == 4'(Depth) && pop_i);
      cover (tile_valid && place_q.tile == 3'd3 && left == 2'd1);
    end
  end
endmodule
