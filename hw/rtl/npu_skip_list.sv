// Skip list: reads the control bytes of sparse weights ahead of the sequencer.
//
// A control byte holds the distance to the channel of the next stored weight vector (`skip_o`, in
// channels) and a flag that marks the last one. The list of a group is read once per tile. Its
// length is known at its last entry only: during the first tile the entries after the current one
// are read speculatively and dropped if the list restarts. A list without an end mark is cut off
// after as many entries as the map has channels, so every command ends, whatever the memory
// contains.

module npu_skip_list (
  input  logic                                               clk_i,
  input  logic                                               rst_ni,
  input  npu_pkg::exec_t                                     commands_i[2],
  input  npu_core_pkg::shape_t                               shapes_i  [2],
  input  logic                 [                        1:0] accepted_i,
  output logic                                               read_o,
  output logic                 [npu_pkg::WeightAddrBits-1:0] addr_o,
  input  logic                 [                        7:0] control_i,
  output logic                                               valid_o,
  output logic                 [                        6:0] skip_o,
  output logic                                               last_o,
  input  logic                                               pop_i
);

  localparam int unsigned AddrBits = npu_pkg::WeightAddrBits;
  localparam logic [AddrBits:0] Words = (AddrBits + 1)'(npu_pkg::WeightWords);
  localparam int unsigned Depth = 8;

  npu_pkg::exec_t cmd;
  npu_core_pkg::shape_t shape;
  logic tile_valid, select, advance, group_last, command_last;
  assign cmd = commands_i[select];
  assign shape = shapes_i[select];

  npu_tile_iterator u_tile_iterator (
    .clk_i,
    .rst_ni,
    .commands_i,
    .shapes_i,
    .accepted_i,
    .wanted_i     (shape.sparse),
    .advance_i    (advance),
    .valid_o      (tile_valid),
    .select_o     (select),
    .next_select_o(),
    .tile_o       (),
    .group_last_o (group_last),
    .last_o       (command_last)
  );

  // Weight words per input channel, of which the first one's control byte counts; the distance from
  // there back to the start of the memory.
  logic [7:0] taps, taps_q;
  logic [AddrBits+1:0] back_q;
  assign taps = npu_core_pkg::small_product(cmd.k[3:0], cmd.k[3:0]);

  // Read side: entries of a list of unknown length are counted up, those of a known one down.
  // `fresh_q` is set between commands: the first address is that of the command.
  logic fresh_q, known_q, known_last_q;
  logic [AddrBits-1:0] next_q, slice_q, from, after;
  logic [AddrBits:0] ahead;
  logic [AddrBits+1:0] wrapped;
  logic [10:0] index_q, index, length_q, left_q;
  logic [3:0] level_q;  // entries in flight or waiting
  assign from = fresh_q ? cmd.weight_base[AddrBits-1:0] : next_q;
  assign ahead = {1'b0, from} + (AddrBits + 1)'(taps_q);
  assign wrapped = {2'b0, from} + back_q;
  assign after = wrapped[AddrBits+1] ? ahead[AddrBits-1:0] : wrapped[AddrBits-1:0];

  // Entries in flight: in the memory; arrived and registered behind it.
  typedef struct packed {
    logic        valid;
    logic        last;   // of a list of known length, or at the maximum length
    logic [10:0] index;
  } word_t;
  word_t read_q, arrived_q;
  logic read_known_q;
  logic [AddrBits-1:0] read_addr_q;
  logic [7:0] control_q;
  logic open_q;  // `arrived_q` belongs to a list of unknown length

  logic ends, found, drop, issue, issue_last;
  // The entry that arrived ends a list; it ends a list of unknown length.
  assign ends = arrived_q.last || (open_q && control_q[7]);
  assign found = open_q && (arrived_q.last || control_q[7]);
  // The entry that was read after it is not wanted.
  assign drop = found && (!group_last || command_last);
  assign issue = tile_valid && !level_q[3] && !drop;
  // Where the length is known, no entry in flight can end the list.
  assign issue_last = tile_valid && !level_q[3] && known_q && known_last_q;
  assign advance = found || issue_last;
  assign read_o = issue;
  assign addr_o = from;
  // Entries after the end of a list of unknown length are the first ones of the next list.
  assign index = found ? 11'(read_q.valid) : index_q;

  always_ff @(posedge clk_i) begin
    taps_q <= taps;
    back_q <= (AddrBits + 2)'(taps) - (AddrBits + 2)'(Words);

    read_q.valid <= issue;
    read_known_q <= known_q;
    read_q.index <= index;
    read_q.last <= known_q ? known_last_q : index + 11'd1 == cmd.in_channels[10:0];
    read_addr_q <= from;
    control_q <= control_i;
    arrived_q.valid <= read_q.valid && !drop;
    arrived_q.last <= found ? shape.one_channel : read_q.last;
    arrived_q.index <= found ? '0 : read_q.index;
    open_q <= read_q.valid && !read_known_q && !drop;

    if (issue) begin
      fresh_q <= 1'b0;
      next_q <= after;
      left_q <= left_q - 11'd1;
      known_last_q <= left_q == 11'd2;
      if (fresh_q) slice_q <= from;
    end
    index_q <= index + 11'(issue);
    if (found && !group_last) begin
      next_q <= slice_q;
      known_q <= 1'b1;
      length_q <= arrived_q.index + 11'd1;
      left_q <= arrived_q.index + 11'd1;
      known_last_q <= arrived_q.index == '0;
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
    level_q <= level_q + 4'(issue) - 4'(pop_i) - 4'(drop && read_q.valid);

    if (!rst_ni) begin
      fresh_q <= 1'b1;
      read_q.valid <= 1'b0;
      arrived_q.valid <= 1'b0;
      open_q <= 1'b0;
      known_q <= 1'b0;
      index_q <= '0;
      level_q <= '0;
    end
  end

  // The queue; its oldest entry is a register.
  logic [7:0] fifo[Depth];
  logic [2:0] head_q, tail_q;
  logic [3:0] stored_q;
  logic room, bypass;
  assign room = pop_i || !valid_o;
  assign bypass = room && stored_q == '0;
  always_ff @(posedge clk_i) begin
    if (room) begin
      valid_o <= stored_q != '0 || arrived_q.valid;
      {last_o, skip_o} <= stored_q != '0 ? fifo[head_q] : {ends, control_q[6:0]};
      if (stored_q != '0) head_q <= head_q + 3'd1;
    end
    if (arrived_q.valid && !bypass) begin
      fifo[tail_q] <= {ends, control_q[6:0]};
      tail_q <= tail_q + 3'd1;
    end
    stored_q <= stored_q + 4'(arrived_q.valid && !bypass) - 4'(room && stored_q != '0);
    if (!rst_ni) begin
      valid_o <= 1'b0;
      head_q <= '0;
      tail_q <= '0;
      stored_q <= '0;
    end
  end

endmodule
