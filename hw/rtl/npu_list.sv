// Reads the control bytes of sparse weights ahead of the sequencer.
//
// The list of a group is read once for every tile. Its length shows at its last word only: during
// the first tile the word behind it is read on speculation and dropped if the list starts again.
// A list without an end is cut off where it has as many words as the map has channels, so whatever
// lies in the memory, a command ends.

module npu_list (
    input  logic                                        clk,
    input  logic                                        rst,
    input  npu_pkg::exec_t commands[2],
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
  logic walking, wanted, advance, group_last, command_last;

  assign wanted = cmd.flags[npu_pkg::ExecFlagSparse];

  npu_tiles u_tiles (
      .clk,
      .rst,
      .commands,
      .accepted,
      .wanted,
      .advance,
      .valid(walking),
      .select(),
      .cmd,
      .tile(),
      .group_last,
      .last(command_last)
  );

  // Words of one input channel, of which the first one's control byte counts.
  logic [7:0] taps;
  assign taps = npu_core_pkg::small_product(cmd.k[3:0], cmd.k[3:0]);

  function automatic logic [AddrBits-1:0] after(input logic [AddrBits-1:0] from,
                                                input logic [7:0] distance);
    logic [AddrBits:0] sum;
    sum = {1'b0, from} + (AddrBits + 1)'(distance);
    return AddrBits'(sum >= Words ? sum - Words : sum);
  endfunction

  logic fresh_q, flight_q, flight_known_q, flight_end_q, known_q;
  logic [AddrBits-1:0] next_q, slice_q, from;
  logic [10:0] index_q, length_q, flight_index_q;
  logic [7:0] fifo[Depth];
  logic [2:0] head_q, tail_q;
  logic [3:0] level_q;

  // `fresh_q` stands between commands: the first address is the command's.
  assign from = fresh_q ? cmd.weight_base[AddrBits-1:0] : next_q;

  logic found, room, issue, issue_last, repeated, ends;
  // The word that just came is a list's last; it ends a list of unknown length.
  assign ends = flight_end_q || (!flight_known_q && control[7]);
  assign found = flight_q && !flight_known_q && ends;
  assign repeated = found && !group_last;
  assign room = level_q + 4'(flight_q) < 4'(Depth);
  assign issue = walking && room && !(found && (repeated || command_last));
  assign issue_last = issue && known_q && index_q + 11'd1 == length_q;
  assign advance = found || issue_last;
  assign read = issue;
  assign addr = from;

  always_ff @(posedge clk) begin
    flight_q <= issue;
    flight_known_q <= known_q;
    // A word issued while a list ends is the first of the next one.
    flight_index_q <= found ? '0 : index_q;
    flight_end_q <= known_q ? issue_last
        : (found ? 11'd0 : index_q) + 11'd1 == cmd.in_channels[10:0];

    if (issue) begin
      fresh_q <= 1'b0;
      next_q  <= after(from, taps);
      index_q <= index_q + 11'd1;
      if (fresh_q) slice_q <= from;
    end
    if (repeated) begin
      next_q   <= slice_q;
      index_q  <= '0;
      known_q  <= 1'b1;
      length_q <= flight_index_q + 11'd1;
    end else if (found) begin
      // The next group's list begins with the word issued now, or with the next one.
      slice_q  <= from;
      index_q  <= issue ? 11'd1 : 11'd0;
    end else if (issue_last) begin
      index_q <= '0;
      if (group_last) begin
        known_q <= 1'b0;
        slice_q <= after(from, taps);
      end else next_q <= slice_q;
    end
    if (advance && command_last) begin
      fresh_q <= 1'b1;
      known_q <= 1'b0;
      index_q <= '0;
    end

    if (flight_q) begin
      fifo[tail_q] <= {ends, control[6:0]};
      tail_q <= tail_q + 3'd1;
    end
    if (pop) head_q <= head_q + 3'd1;
    level_q <= level_q + 4'(flight_q) - 4'(pop);

    if (rst) begin
      fresh_q  <= 1'b1;
      flight_q <= 1'b0;
      known_q  <= 1'b0;
      index_q  <= '0;
      head_q   <= '0;
      tail_q   <= '0;
      level_q  <= '0;
    end
  end

  assign valid = level_q != '0;
  assign {last, skip} = fifo[head_q];

endmodule
