// Reads the control bytes of sparse weights ahead of the sequencer.
//
// The list of a group is read once for every tile. Its length shows at its last word only: during
// the first tile the words behind it are read on speculation and dropped if the list starts again.
// A list without an end is cut off where it has as many words as the map has channels, so whatever
// lies in the memory, a command ends.

module npu_list (
    input  logic                                        clk,
    input  logic                                        rst,
    input  npu_pkg::exec_t commands[2],
    input  npu_core_pkg::shape_t                        shapes[2],
    input  logic           [                       1:0] accepted,
    output logic                                        read,
    output logic           [npu_pkg::WeightAddrBits-1:0] addr,
    input  logic           [                       7:0] control,
    output logic                                        valid,
    output logic           [                       6:0] skip,
    output logic                                        last,
    input  logic                                        pop
);

  localparam int unsigned AddrBits = npu_pkg::WeightAddrBits;
  localparam logic [AddrBits:0] Words = (AddrBits + 1)'(npu_pkg::WeightWords);
  localparam int unsigned Depth = 8;

  npu_pkg::exec_t cmd;
  npu_core_pkg::shape_t shape;
  logic walking, select, advance, group_last, command_last;
  assign cmd = commands[select];
  assign shape = shapes[select];

  npu_tiles u_tiles (
      .clk,
      .rst,
      .commands,
      .shapes,
      .accepted,
      .wanted(shape.sparse),
      .advance,
      .valid(walking),
      .select,
      .next_select(),
      .tile(),
      .group_last,
      .last(command_last)
  );

  // Words of one input channel, of which the first one's control byte counts; from there back to the
  // memory's begin.
  logic [7:0] taps, taps_q;
  logic [AddrBits+1:0] back_q;
  assign taps = npu_core_pkg::small_product(cmd.k[3:0], cmd.k[3:0]);

  // Reading: the words of a list of unknown length are counted up, those of a known one down.
  // `fresh_q` stands between commands: the first address is the command's.
  logic fresh_q, known_q, known_last_q;
  logic [AddrBits-1:0] next_q, slice_q, from, after;
  logic [AddrBits:0] ahead;
  logic [AddrBits+1:0] wrapped;
  logic [10:0] index_q, index, length_q, left_q;
  logic [3:0] level_q;  // words on their way or waiting
  assign from = fresh_q ? cmd.weight_base[AddrBits-1:0] : next_q;
  assign ahead = {1'b0, from} + (AddrBits + 1)'(taps_q);
  assign wrapped = {2'b0, from} + back_q;
  assign after = wrapped[AddrBits+1] ? ahead[AddrBits-1:0] : wrapped[AddrBits-1:0];

  // On its way: in the memory; come, and registered behind it.
  typedef struct packed {
    logic valid;
    logic last;  // of a list of known length, or as far as a list may reach
    logic [10:0] index;
  } word_t;
  word_t read_q, come_q;
  logic read_known_q;
  logic [AddrBits-1:0] read_addr_q;
  logic [7:0] control_q;
  logic open_q;  // `come_q` is of a list of unknown length

  logic ends, found, drop, issue, issue_last;
  // The word that came is a list's last; it ends a list of unknown length.
  assign ends = come_q.last || (open_q && control_q[7]);
  assign found = open_q && (come_q.last || control_q[7]);
  // What was read behind it is not wanted.
  assign drop = found && (!group_last || command_last);
  assign issue = walking && !level_q[3] && !drop;
  // Where the length is known, nothing is on its way whose end could be found.
  assign issue_last = walking && !level_q[3] && known_q && known_last_q;
  assign advance = found || issue_last;
  assign read = issue;
  assign addr = from;
  // Words behind the end of a list of unknown length are the first of the next one.
  assign index = found ? 11'(read_q.valid) : index_q;

  always_ff @(posedge clk) begin
    taps_q <= taps;
    back_q <= (AddrBits + 2)'(taps) - (AddrBits + 2)'(Words);

    read_q.valid <= issue;
    read_known_q <= known_q;
    read_q.index <= index;
    read_q.last <= known_q ? known_last_q : index + 11'd1 == cmd.in_channels[10:0];
    read_addr_q <= from;
    control_q <= control;
    come_q.valid <= read_q.valid && !drop;
    come_q.last <= found ? shape.one_channel : read_q.last;
    come_q.index <= found ? '0 : read_q.index;
    open_q <= read_q.valid && !read_known_q && !drop;

    if (issue) begin
      fresh_q <= 1'b0;
      next_q  <= after;
      left_q <= left_q - 11'd1;
      known_last_q <= left_q == 11'd2;
      if (fresh_q) slice_q <= from;
    end
    index_q <= index + 11'(issue);
    if (found && !group_last) begin
      next_q <= slice_q;
      known_q <= 1'b1;
      length_q <= come_q.index + 11'd1;
      left_q <= come_q.index + 11'd1;
      known_last_q <= come_q.index == '0;
    end else if (found) slice_q <= read_q.valid ? read_addr_q : from;
    if (issue_last) begin
      index_q <= '0;
      left_q <= length_q;
      known_last_q <= length_q == 11'd1;
      if (group_last) begin
        known_q <= 1'b0;
        slice_q <= after;
      end else next_q <= slice_q;
    end
    if (advance && command_last) begin
      fresh_q <= 1'b1;
      known_q <= 1'b0;
      index_q <= '0;
    end
    level_q <= level_q + 4'(issue) - 4'(pop) - 4'(drop && read_q.valid);

    if (rst) begin
      fresh_q  <= 1'b1;
      read_q.valid <= 1'b0;
      come_q.valid <= 1'b0;
      open_q   <= 1'b0;
      known_q  <= 1'b0;
      index_q  <= '0;
      level_q  <= '0;
    end
  end

  // The queue, with its oldest word in a register.
  logic [7:0] fifo[Depth];
  logic [2:0] head_q, tail_q;
  logic [3:0] stored_q;
  logic room, through;
  assign room = pop || !valid;
  assign through = room && stored_q == '0;
  always_ff @(posedge clk) begin
    if (room) begin
      valid <= stored_q != '0 || come_q.valid;
      {last, skip} <= stored_q != '0 ? fifo[head_q] : {ends, control_q[6:0]};
      if (stored_q != '0) head_q <= head_q + 3'd1;
    end
    if (come_q.valid && !through) begin
      fifo[tail_q] <= {ends, control_q[6:0]};
      tail_q <= tail_q + 3'd1;
    end
    stored_q <= stored_q + 4'(come_q.valid && !through) - 4'(room && stored_q != '0);
    if (rst) begin
      valid <= 1'b0;
      head_q <= '0;
      tail_q <= '0;
      stored_q <= '0;
    end
  end

endmodule
