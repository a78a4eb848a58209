// npu_drain: a tile takes exactly the cycles that the sequencer allows for it (`sequencer`), so
// tiles at that distance are never lost.
module prove_drain (
  input logic           clk_i,
  input logic           rst_ni,
  // A command is accepted; a command is finished.
  input logic           take_i,
  input npu_pkg::exec_t cmd_i,
  input logic           finish_i,
  // A tile arrives; its results straddle two vectors.
  input logic           done_i,
  input logic           halves_i
);
  import npu_pkg::*;
  import npu_core_pkg::*;

  exec_t commands[2];
  // The core keeps these values with a command; they are computed when it is accepted.
  shape_t shapes[2];
  assign shapes[0] = shape_of(commands[0]);
  assign shapes[1] = shape_of(commands[1]);
  logic [1:0] accepted, finished_q;
  logic signed [AccBits-1:0] shadow[Rows][Lanes];
  logic signed [31:0] row[DrainRows][Lanes];
  slot_t slot;
  tile_t tile;
  // The contents of the rows do not matter here.
  assign shadow = '{default: '0};

  npu_drain u_drain (
    .clk_i,
    .rst_ni,
    .commands_i(commands),
    .shapes_i  (shapes),
    .accepted_i(accepted),
    .done_i,
    .halves_i,
    .shadow_i  (shadow),
    .slot_o    (slot),
    .tile_o    (tile),
    .row_o     (row)
  );

  logic begun_q = 1'b0;
  logic tile_valid, busy;
  logic [1:0] left;
  assign tile_valid = u_drain.u_tile_iterator.valid_o;
  assign busy = u_drain.busy_q;
  assign left = u_drain.u_tile_iterator.taken_q;

  exec_t own;
  assign own = commands[left[0]];
  // Cycles that the current tile's drain takes; cycles that have passed.
  logic average, halves_q;
  logic [5:0] rows, turns, slots, count_q;
  assign average = own.mode == ModeAverage;
  assign rows = 6'(u_drain.current.rows);
  assign turns = (rows + 6'(DrainRows - 1)) / 6'(DrainRows);
  assign slots = average ? 6'd3 * rows : halves_q ? 6'd2 * turns : turns;
  // The same as rows and parts of a row.
  logic [5:0] parts, index;
  assign parts = average ? 6'd3 : halves_q ? 6'd2 : 6'd1;
  assign index = 6'(u_drain.index_q);

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    if (take_i) begin
      commands[accepted[0]] <= cmd_i;
      accepted <= accepted + 2'd1;
    end
    if (finish_i) finished_q <= finished_q + 2'd1;
    count_q <= done_i ? '0 : count_q + 6'd1;
    if (done_i) halves_q <= halves_i;
    if (!rst_ni) begin
      accepted <= '0;
      finished_q <= '0;
    end
  end

  function automatic logic bounded(input exec_t c);
    return c.tiles != '0 && c.rows != '0 && c.out_channels != '0 && c.out_channels <= 16'd2047;
  endfunction

  logic [1:0] in_flight, walked;
  assign in_flight = accepted - finished_q;
  assign walked = left - finished_q;

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (take_i) assume (in_flight < 2'd2 && bounded(cmd_i));
    if (finish_i) assume (walked != '0);
    // Tiles of accepted commands arrive at the distance that the sequencer guarantees.
    if (done_i)
      assume (busy ? count_q + 6'd1 >= slots && (walked + 2'd1 != in_flight || !u_drain.last) :
              tile_valid);

    if (begun_q) begin
      if (busy) assert (u_drain.advance == (count_q + 6'd1 == slots));
      if (done_i) assert (!busy || u_drain.advance);
      // The last result of a command comes with the end of its last tile.
      if (busy && u_drain.advance) assert (tile_valid);

      // Invariants for the induction.
      assert (in_flight <= 2'd2 && walked <= in_flight);
      for (int i = 0; i < 2; i++) begin
        if (in_flight > 2'(i)) begin
          assert (bounded(commands[finished_q[0]^1'(i)]));
        end
      end
      if (tile_valid) begin
        assert (left != accepted && rows != '0 && rows <= 6'(Rows));
        assert (u_drain.current.average == average && u_drain.u_tile_iterator.groups_left_q != '0);
        assert (u_drain.u_tile_iterator.rest_last_q ==
                (u_drain.u_tile_iterator.groups_left_q == 11'd1));
      end
      if (busy) begin
        assert (tile_valid && u_drain.halves_q == halves_q && count_q < slots && index < rows);
        assert (6'(u_drain.sub_q) < parts);
        if (average || DrainRows == 1)
          assert (count_q == index * parts + 6'(u_drain.sub_q));
          else assert (!index[0] && count_q == (index >> 1) * parts + 6'(u_drain.sub_q));
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (busy && done_i && average && rows == 6'd2);
      cover (busy && done_i && halves_q && rows == 6'd3 && left == 2'd1);
    end
  end
endmodule
