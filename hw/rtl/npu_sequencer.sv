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
    input  npu_core_pkg::shape_t        shapes[2],
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
  npu_core_pkg::shape_t shape;
  npu_core_pkg::tile_t tile;
  logic walking, select, next_select, advance, group_last;

  npu_tiles #(
      .Always(1'b1)
  ) u_tiles (
      .clk,
      .rst,
      .commands,
      .shapes,
      .accepted,
      .wanted(1'b1),
      .advance,
      .valid(walking),
      .select,
      .next_select,
      .tile,
      .group_last,
      .last()
  );
  assign cmd = commands[select];
  assign shape = shapes[select];

  // The kernel row that is fetched. Every `_last`, `_end` and `_on` below is a register that was
  // worked out with the counter's step before.
  logic ky_first_q, ky_last_q, channel_first_q, channel_last_q;
  logic [3:0] ky_left_q;
  npu_core_pkg::coordinate_t ky_offset_q;  // from the tile's row, padding included
  logic [10:0] channel_q, channels_left_q, channel;
  logic channel_last;
  assign channel = channel_q + (tile.sparse ? 11'(list_skip) : 11'(!channel_first_q));
  assign channel_last = tile.sparse ? list_last : channel_last_q;

  function automatic npu_core_pkg::coordinate_t scaled(input logic [11:0] at, input logic half,
                                                       input logic twice);
    return half ? {2'b0, at[11:1]} : twice ? {at, 1'b0} : {1'b0, at};
  endfunction

  function automatic npu_core_pkg::coordinate_t padding(input logic signed [7:0] pad);
    return -13'(pad);
  endfunction

  // The kernel row whose taps are issued.
  typedef struct packed {
    logic valid;
    logic side;
    logic fresh;
    logic first;
    logic last;
    logic group_last;
    logic halves;  // results fall into two map words
    logic [npu_pkg::RowBits+1:0] slots;  // cycles of the tile's drain
    logic single;  // one such cycle
    logic [npu_pkg::RowBits:0] second;  // words of the second map that the tile takes
    logic waits;  // for them
    logic [10:0] skipped;
  } row_t;
  row_t fetched, row_q;
  logic fetching;
  assign fetching = walking && (!tile.sparse || list_valid);

  // Rows of the tile that leave the array together count once.
  logic [npu_pkg::RowBits:0] turns;
  assign turns = npu_pkg::DrainRows == 1 ? tile.rows : (tile.rows >> 1) + (npu_pkg::RowBits + 1)'(tile.rows[0]);

  always_comb begin
    fetched.valid = fetching;
    fetched.side = select;
    fetched.fresh = tile.first && channel_first_q && ky_first_q;
    fetched.first = channel_first_q && ky_first_q && (!tile.average || tile.group_first);
    fetched.last = channel_last && ky_last_q && (!tile.average || group_last);
    fetched.group_last = group_last;
    fetched.halves = npu_core_pkg::crosses(tile);
    fetched.slots = {1'b0, turns};
    if (tile.average) fetched.slots = {1'b0, tile.rows} + {tile.rows, 1'b0};
    else if (fetched.halves) fetched.slots = {turns, 1'b0};
    fetched.single = !tile.average && !fetched.halves
        && tile.rows <= (npu_pkg::RowBits + 1)'(npu_pkg::DrainRows);
    fetched.second = tile.second ? turns : '0;
    fetched.waits = tile.second;
    fetched.skipped = tile.sparse && channel_last ? channels_left_q - 11'd1 : '0;
  end

  // Taps issued and words fetched in this period; `start_q` until its first step.
  logic [3:0] taps_left_q;
  logic [1:0] word_q;
  logic start_q, tap_on_q, tap_first_q, tap_end_q, tile_end_q, word_on_q, word_end_q;
  logic fetch, hold, go, period_end;
  logic wait_drain, wait_second, backlog_on_q, row_new_q, enough_q;
  logic [5:0] backlog_q;
  assign fetch = fetching && word_on_q;
  assign wait_drain = tile_end_q && backlog_on_q;
  // Whether there are enough words is known a cycle after the tile's first row.
  assign wait_second = tile_end_q && row_q.waits && (row_new_q || !enough_q);
  assign hold = wait_drain || wait_second;
  assign go = (fetching || row_q.valid) && !hold;
  assign period_end = (!fetching || word_end_q) && tap_end_q;

  logic row_done, channel_done, tile_done;
  assign row_done = go && period_end && fetching;
  assign channel_done = row_done && ky_last_q;
  assign tile_done = channel_done && channel_last;
  assign advance = tile_done;
  assign list_pop = channel_done && tile.sparse;
  assign second_take = tile_end_q && go ? row_q.second : '0;

  // Whose the next channel is, and the next period's words.
  npu_pkg::exec_t next_cmd;
  npu_core_pkg::shape_t next_shape;
  logic channel_select;
  assign channel_select = channel_last ? next_select : select;
  assign next_cmd = commands[channel_select];
  assign next_shape = shapes[channel_select];

  always_ff @(posedge clk) begin
    if (go) begin
      start_q <= period_end;
      if (period_end) begin
        row_q <= fetched;
        tap_on_q <= fetching;
        tap_first_q <= 1'b1;
        tap_end_q <= !fetching || shape.one_tap;
        tile_end_q <= fetching && shape.one_tap && fetched.last;
        taps_left_q <= cmd.k[3:0];
      end else if (tap_on_q) begin
        tap_on_q <= !tap_end_q;
        tap_first_q <= 1'b0;
        tap_end_q <= tap_end_q || taps_left_q == 4'd2;
        tile_end_q <= row_q.last && taps_left_q == 4'd2;
        taps_left_q <= taps_left_q - 4'd1;
      end
      if (fetch) begin
        word_q <= word_q + 2'd1;
        word_on_q <= !word_end_q;
        word_end_q <= word_end_q || 3'(word_q) + 3'd2 == cmd.window_words[2:0];
      end
    end
    if (row_done) begin
      ky_first_q <= 1'b0;
      ky_last_q <= ky_left_q == 4'd2;
      ky_left_q <= ky_left_q - 4'd1;
      ky_offset_q <= ky_offset_q + 13'(cmd.dilation[3:0]);
    end
    // A channel, a tile, a command begins.
    if (channel_done || !walking) begin
      ky_first_q <= 1'b1;
      ky_last_q <= next_shape.one_tap;
      ky_left_q <= next_cmd.k[3:0];
      ky_offset_q <= padding(next_cmd.pad_y);
      channel_first_q <= 1'b0;
      channel_q <= channel;
      channels_left_q <= channels_left_q - 11'd1;
      channel_last_q <= !tile.dense || channels_left_q == 11'd2;
    end
    if (tile_done || !walking) begin
      channel_first_q <= 1'b1;
      channel_q <= '0;
      channels_left_q <= next_cmd.in_channels[10:0];
      channel_last_q <= next_shape.one_channel;
    end
    if ((go && period_end) || !walking) begin
      word_q <= '0;
      word_on_q <= 1'b1;
      word_end_q <= !walking || (fetching && ky_last_q) ? next_shape.one_word : shape.one_word;
    end

    row_new_q <= go && period_end && fetched.first;
    enough_q <= second_level >= npu_core_pkg::second_count_t'(row_q.second);
    if (tile_end_q && go) begin
      backlog_q <= 6'(row_q.slots) - 6'd1;
      backlog_on_q <= !row_q.single;
    end else if (backlog_on_q) begin
      backlog_q <= backlog_q - 6'd1;
      backlog_on_q <= backlog_q != 6'd1;
    end

    step.valid <= go;
    step.start <= start_q;
    step.fetch <= fetch;
    step.fetch_side <= select;
    step.word <= word_q;
    step.row <= scaled(tile.y, cmd.flags[npu_pkg::ExecFlagUpsample], cmd.stride[1]) + ky_offset_q;
    step.column <= scaled(tile.x, cmd.flags[npu_pkg::ExecFlagUpsample], cmd.stride[1]) + padding(cmd.pad_x);
    step.channel <= tile.dense ? 13'(channel) : 13'({tile.group, npu_pkg::RowBits'(0)});
    step.tap <= tap_on_q;
    step.tap_side <= row_q.side;
    step.fresh <= row_q.fresh && tap_first_q;
    step.first <= row_q.first && tap_first_q;
    step.last <= tile_end_q;
    step.halves <= row_q.halves;
    step.group_last <= row_q.group_last;

    skipped <= go && tap_on_q ? row_q.skipped : '0;
    stall_drain <= wait_drain;
    stall_second <= wait_second && !wait_drain;

    if (rst) begin
      start_q <= 1'b1;
      row_q.valid <= 1'b0;
      tap_on_q <= 1'b0;
      tap_end_q <= 1'b1;
      tile_end_q <= 1'b0;
      backlog_on_q <= 1'b0;
      step.valid <= 1'b0;
      skipped <= '0;
    end
  end

endmodule
