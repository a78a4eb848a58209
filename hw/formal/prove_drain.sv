// npu_drain: a tile takes as many cycles as the sequencer allows for it (`sequencer`), no more and no
// fewer: tiles that come so far apart are never lost.
module prove_drain (
  input logic           clk,
  input logic           rst,
  // A command is accepted; one is finished.
  input logic           take,
  input npu_pkg::exec_t cmd,
  input logic           finish,
  // A tile arrives; its results fall into two words.
  input logic           done,
  input logic           halves
);
  import npu_pkg::*;
  import npu_core_pkg::*;

  exec_t  commands [2];
  // What the core keeps of a command beside it, worked out when it is taken.
  shape_t shapes [2];
  assign shapes[0] = shape_of(commands[0]);
  assign shapes[1] = shape_of(commands[1]);
  logic [1:0] accepted, finished_q;
  logic signed [AccBits-1:0] shadow [Rows][Lanes];
  logic signed [31:0] row [DrainRows][Lanes];
  slot_t slot;
  tile_t tile;
  // What the rows hold does not matter here.
  assign shadow = '{default: '0};

  npu_drain u_drain (.*);

  logic begun_q = 1'b0;
  logic walking, busy;
  logic [1:0] left;
  assign walking = u_drain.u_tiles.valid;
  assign busy    = u_drain.busy_q;
  assign left    = u_drain.u_tiles.taken_q;

  exec_t own;
  assign own = commands[left[0]];
  // Cycles of the tile that drains; those that it has had.
  logic       average, halves_q;
  logic [5:0] rows, turns, slots, count_q;
  assign average = own.mode == ModeAverage;
  assign rows    = 6'(u_drain.current.rows);
  assign turns   = (rows + 6'(DrainRows - 1)) / 6'(DrainRows);
  assign slots   = average ? 6'd3 * rows : halves_q ? 6'd2 * turns : turns;
  // The same as rows and parts of a row.
  logic [5:0] parts, index;
  assign parts = average ? 6'd3 : halves_q ? 6'd2 : 6'd1;
  assign index = 6'(u_drain.index_q);

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    if (take) begin
      commands[accepted[0]] <= cmd;
      accepted <= accepted + 2'd1;
    end
    if (finish) finished_q <= finished_q + 2'd1;
    count_q <= done ? '0 : count_q + 6'd1;
    if (done) halves_q <= halves;
    if (rst) begin
      accepted   <= '0;
      finished_q <= '0;
    end
  end

  function automatic logic bounded(input exec_t c);
    return c.tiles != '0 && c.rows != '0 && c.out_channels != '0 && c.out_channels <= 16'd2047;
  endfunction

  logic [1:0] in_flight, walked;
  assign in_flight = accepted - finished_q;
  assign walked    = left - finished_q;

  always_comb begin
    if (!begun_q) assume (rst);
    if (take) assume (in_flight < 2'd2 && bounded(cmd));
    if (finish) assume (walked != '0);
    // Tiles come of commands that were accepted, as far apart as the sequencer sees to.
    if (done) assume (busy ? count_q + 6'd1 >= slots && (walked + 2'd1 != in_flight || !u_drain.last) : walking);

    if (begun_q) begin
      if (busy) assert (u_drain.advance == (count_q + 6'd1 == slots));
      if (done) assert (!busy || u_drain.advance);
      // A result ends the command when its last tile ends.
      if (busy && u_drain.advance) assert (walking);

      // What the induction needs.
      assert (in_flight <= 2'd2 && walked <= in_flight);
      for (int i = 0; i < 2; i++) begin
        if (in_flight > 2'(i)) begin
          assert (bounded(commands[finished_q[0] ^ 1'(i)]));
        end
      end
      if (walking) begin
        assert (left != accepted && rows != '0 && rows <= 6'(Rows));
        assert (u_drain.current.average == average && u_drain.u_tiles.groups_left_q != '0);
        assert (u_drain.u_tiles.rest_last_q == (u_drain.u_tiles.groups_left_q == 11'd1));
      end
      if (busy) begin
        assert (walking && u_drain.halves_q == halves_q && count_q < slots && index < rows);
        assert (6'(u_drain.sub_q) < parts);
        if (average || DrainRows == 1) assert (count_q == index * parts + 6'(u_drain.sub_q));
        else assert (!index[0] && count_q == (index >> 1) * parts + 6'(u_drain.sub_q));
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (busy && done && average && rows == 6'd2);
      cover (busy && done && halves_q && rows == 6'd3 && left == 2'd1);
    end
  end
endmodule
