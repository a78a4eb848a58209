// The loop nest: groups, tiles, input channels, kernel rows, taps.
//
// A period is one kernel row: while its taps are issued, the words of the next row (of whichever
// channel, tile, group or command) are fetched. It lasts until both are done. Nothing
// behind the sequencer ever stalls: the last tap of a tile is held back until the drain will be free
// when it arrives, and until the words of the second map that the tile needs have been read.

module npu_sequencer (
    input  logic                        clk,
    input  logic                        rst,
    input  npu_pkg::exec_t commands[2],
    input  logic                  [1:0] accepted,
    // Skip list.
    input  logic                        list_valid,
    input  logic                  [6:0] list_skip,
    input  logic                        list_last,
    output logic                        list_pop,
    // Words of the second map that wait, not promised to a tile yet; of two rows where two drain.
    input  npu_core_pkg::second_count_t second_level,
    output logic                  [npu_pkg::RowBits:0] second_take,
    output npu_core_pkg::step_t         step,
    // Weight vectors skipped in this cycle.
    output logic                 [10:0] skipped,
    output logic                        stall_drain,
    output logic                        stall_second
);

  npu_pkg::exec_t cmd;
  npu_core_pkg::tile_t tile;
  logic walking, select, advance, group_last;

  npu_tiles #(
      .Always(1'b1)
  ) u_tiles (
      .clk,
      .rst,
      .commands,
      .accepted,
      .wanted(1'b1),
      .advance,
      .valid(walking),
      .select,
      .cmd,
      .tile,
      .group_last,
      .last()
  );

  // The kernel row that is fetched.
  logic dense, sparse, upsample, average, row_mode;
  assign dense = cmd.mode == npu_pkg::ModeDense;
  assign average = cmd.mode == npu_pkg::ModeAverage;
  assign sparse = cmd.flags[npu_pkg::ExecFlagSparse];
  assign upsample = cmd.flags[npu_pkg::ExecFlagUpsample];
  assign row_mode = cmd.flags[npu_pkg::ExecFlagRowMode];

  logic [3:0] ky_q;
  logic [7:0] ky_offset_q;
  logic channel_first_q;
  logic [10:0] channel_q, visited_q, input_channel;
  logic channel_last, ky_last;
  assign input_channel = sparse ? channel_q + 11'(list_skip) : visited_q;
  assign channel_last = sparse ? list_last : !dense || visited_q + 11'd1 == cmd.in_channels[10:0];
  assign ky_last = ky_q + 4'd1 == cmd.k[3:0];

  function automatic npu_core_pkg::coordinate_t scaled(
      input logic [11:0] at, input logic signed [7:0] pad, input logic half, input logic twice);
    logic [12:0] place;
    place = half ? {2'b0, at[11:1]} : twice ? {at, 1'b0} : {1'b0, at};
    return npu_core_pkg::coordinate_t'(place - {{5{pad[7]}}, pad});
  endfunction

  // The kernel row whose taps are issued.
  typedef struct packed {
    logic valid;
    logic side;
    logic [3:0] k;
    logic fresh;
    logic first;
    logic last;
    logic group_last;
    logic halves;  // results fall into two map words
    logic [npu_pkg::RowBits+1:0] slots;  // cycles of the tile's drain
    logic [npu_pkg::RowBits:0] second;  // words of the second map that the tile takes
    logic [10:0] skipped;
  } row_t;
  row_t fetched, row_q;

  // Rows of the tile that leave the array together count once.
  logic [npu_pkg::RowBits:0] turns;
  assign turns = npu_pkg::DrainRows == 1 ? tile.rows : (tile.rows >> 1) + (npu_pkg::RowBits + 1)'(tile.rows[0]);

  always_comb begin
    fetched.valid = 1'b1;
    fetched.side = select;
    fetched.k = cmd.k[3:0];
    fetched.fresh = tile.first && channel_first_q && ky_q == '0;
    fetched.first = channel_first_q && ky_q == '0 && (!average || tile.group_first);
    fetched.last = channel_last && ky_last && (!average || group_last);
    fetched.group_last = group_last;
    fetched.halves = row_mode && npu_core_pkg::crosses(
        cmd.out_w, tile.y[npu_pkg::LaneBits-1:0], tile.x);
    fetched.slots = {1'b0, turns};
    if (average) fetched.slots = {1'b0, tile.rows} + {tile.rows, 1'b0};
    else if (fetched.halves) fetched.slots = {turns, 1'b0};
    fetched.second = cmd.residual[1:0] == npu_pkg::ResNone ? '0 : turns;
    fetched.skipped = sparse && channel_last ? cmd.in_channels[10:0] - visited_q - 11'd1 : '0;
  end

  // Taps issued and words fetched in this period; `start_q` until its first step.
  logic [3:0] tap_q;
  logic [2:0] word_q;
  logic start_q;
  logic fetching, fetch, tap, fetch_end, tap_end, tile_end, hold, go, period_end;
  logic wait_drain, wait_second;
  logic [5:0] backlog_q;
  assign fetching = walking && (!sparse || list_valid);
  assign fetch = fetching && word_q < cmd.window_words[2:0];
  assign tap = row_q.valid && tap_q < row_q.k;
  assign fetch_end = !fetching || word_q + 3'd1 >= cmd.window_words[2:0];
  assign tap_end = !row_q.valid || tap_q + 4'd1 >= row_q.k;
  assign tile_end = tap && row_q.last && tap_q + 4'd1 == row_q.k;
  assign wait_drain = tile_end && backlog_q != '0;
  assign wait_second = tile_end && second_level < npu_core_pkg::second_count_t'(row_q.second);
  assign hold = wait_drain || wait_second;
  assign go = (fetching || row_q.valid) && !hold;
  assign period_end = fetch_end && tap_end;

  logic row_done, channel_done, tile_done;
  assign row_done = go && period_end && fetching;
  assign channel_done = row_done && ky_last;
  assign tile_done = channel_done && channel_last;
  assign advance = tile_done;
  assign list_pop = channel_done && sparse;
  assign second_take = tile_end && go ? row_q.second : '0;

  always_ff @(posedge clk) begin
    if (go) begin
      start_q <= period_end;
      tap_q   <= period_end ? '0 : tap_q + 4'(tap);
      word_q  <= period_end ? '0 : word_q + 3'(fetch);
    end
    if (go && period_end) begin
      row_q <= fetched;
      row_q.valid <= fetching;
    end
    if (row_done) begin
      ky_q <= ky_q + 4'd1;
      ky_offset_q <= ky_offset_q + 8'(cmd.dilation[3:0]);
    end
    if (channel_done) begin
      ky_q <= '0;
      ky_offset_q <= '0;
      channel_first_q <= 1'b0;
      channel_q <= input_channel;
      visited_q <= visited_q + 11'd1;
    end
    if (tile_done) begin
      channel_first_q <= 1'b1;
      channel_q <= '0;
      visited_q <= '0;
    end

    if (tile_end && go) backlog_q <= 6'(row_q.slots) - 6'd1;
    else if (backlog_q != '0) backlog_q <= backlog_q - 6'd1;

    step.valid <= go;
    step.start <= start_q;
    step.fetch <= fetch;
    step.fetch_side <= select;
    step.word <= word_q[1:0];
    step.row <= scaled(tile.y, cmd.pad_y, upsample, cmd.stride[1]) + 13'(ky_offset_q);
    step.column <= scaled(tile.x, cmd.pad_x, upsample, cmd.stride[1]);
    step.channel <= dense ? cmd.in_origin[12:0] + 13'(input_channel)
        : {cmd.in_origin[12:npu_pkg::RowBits] + (13 - npu_pkg::RowBits)'(tile.group), npu_pkg::RowBits'(0)};
    step.tap <= tap;
    step.tap_side <= row_q.side;
    step.fresh <= row_q.fresh && tap_q == '0;
    step.first <= row_q.first && tap_q == '0;
    step.last <= tile_end;
    step.halves <= row_q.halves;
    step.group_last <= row_q.group_last;

    skipped <= go && tap ? row_q.skipped : '0;
    stall_drain <= wait_drain;
    stall_second <= wait_second && !wait_drain;

    if (rst) begin
      start_q <= 1'b1;
      tap_q <= '0;
      word_q <= '0;
      row_q.valid <= 1'b0;
      ky_q <= '0;
      ky_offset_q <= '0;
      channel_first_q <= 1'b1;
      channel_q <= '0;
      visited_q <= '0;
      backlog_q <= '0;
      step.valid <= 1'b0;
      skipped <= '0;
    end
  end

endmodule
