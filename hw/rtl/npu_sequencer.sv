// Sequencer, the loop nest: groups, tiles, input channels, kernel rows, taps.
//
// A row slot is one kernel row: while its taps are issued, the vectors of the next kernel row (of
// whichever channel, tile, group or command) are fetched. It lasts max(k, window_words) steps.
// Nothing downstream of the sequencer stalls: the last tap of a tile is held back until the drain
// will be free when the tile arrives, and until the tile's element-wise vectors have been read.

module npu_sequencer (
  input  logic                                              clk_i,
  input  logic                                              rst_ni,
  input  npu_pkg::exec_t                                    commands_i     [2],
  input  npu_core_pkg::shape_t                              shapes_i       [2],
  input  logic                         [               1:0] accepted_i,
  // Skip list.
  input  logic                                              list_valid_i,
  input  logic                         [               6:0] list_skip_i,
  input  logic                                              list_last_i,
  output logic                                              list_pop_o,
  // Element-wise entries that are present and not promised to a tile yet; an entry has two rows
  // where two drain together.
  input  npu_core_pkg::eltwise_count_t                      eltwise_level_i,
  output logic                         [npu_pkg::RowBits:0] eltwise_take_o,
  output npu_core_pkg::step_t                               step_o,
  // Weight vectors that are skipped in this cycle.
  output logic                         [              10:0] skipped_o,
  output logic                                              stall_drain_o,
  output logic                                              stall_eltwise_o
);

  npu_pkg::exec_t cmd;
  npu_core_pkg::shape_t shape;
  npu_core_pkg::tile_t tile;
  logic tile_valid, select, next_select, advance, group_last;

  npu_tile_iterator #(
    .Always(1'b1)
  ) u_tile_iterator (
    .clk_i,
    .rst_ni,
    .commands_i,
    .shapes_i,
    .accepted_i,
    .wanted_i     (1'b1),
    .advance_i    (advance),
    .valid_o      (tile_valid),
    .select_o     (select),
    .next_select_o(next_select),
    .tile_o       (tile),
    .group_last_o (group_last),
    .last_o       ()
  );
  assign cmd = commands_i[select];
  assign shape = shapes_i[select];

  // The kernel row that is fetched. Every `_last`, `_end` and `_on` below is a register that is
  // computed with the previous step of its counter.
  logic ky_first_q, ky_last_q, channel_first_q, channel_last_q;
  logic [3:0] ky_left_q;
  npu_core_pkg::coordinate_t ky_offset_q;  // from the tile's row, padding included
  logic [10:0] channel_q, channels_left_q, channel;
  logic channel_last;
  assign channel = channel_q + (tile.sparse ? 11'(list_skip_i) : 11'(!channel_first_q));
  assign channel_last = tile.sparse ? list_last_i : channel_last_q;

  function automatic npu_core_pkg::coordinate_t scaled(input logic [11:0] at, input logic half,
                                                       input logic twice);
    return half ? {2'b0, at[11:1]} : twice ? {at, 1'b0} : {1'b0, at};
  endfunction

  function automatic npu_core_pkg::coordinate_t padding(input logic signed [7:0] pad);
    return -13'(pad);
  endfunction

  // Input row and column of the tile's first output pixel, without padding.
  npu_core_pkg::coordinate_t tile_row, tile_column;
  logic halved, doubled;
  assign halved = cmd.flags[npu_pkg::ExecFlagUpsample];
  assign doubled = cmd.stride[1];
  assign tile_row = scaled(tile.y, halved, doubled);
  assign tile_column = scaled(tile.x, halved, doubled);

  // The kernel row whose taps are issued.
  typedef struct packed {
    logic                        valid;
    logic                        ctx;
    logic                        fresh;
    logic                        first;
    logic                        last;
    logic                        group_last;
    logic                        halves;        // the results straddle two vectors
    logic [npu_pkg::RowBits+1:0] drain_cycles;  // cycles of the tile's drain
    logic                        single;        // the drain takes one cycle
    logic [npu_pkg::RowBits:0]   eltwise;       // element-wise entries of the tile
    logic                        waits;         // the tile has any
    logic [10:0]                 skipped;
  } row_t;
  row_t fetched, row_q;
  logic fetching;
  assign fetching = tile_valid && (!tile.sparse || list_valid_i);

  // Rows of the tile that drain together count once.
  logic [npu_pkg::RowBits:0] turns;
  assign turns = npu_pkg::DrainRows == 1 ?
      tile.rows : (tile.rows >> 1) + (npu_pkg::RowBits + 1)'(tile.rows[0]);

  always_comb begin
    fetched.valid = fetching;
    fetched.ctx = select;
    fetched.fresh = tile.first && channel_first_q && ky_first_q;
    fetched.first = channel_first_q && ky_first_q && (!tile.average || tile.group_first);
    fetched.last = channel_last && ky_last_q && (!tile.average || group_last);
    fetched.group_last = group_last;
    fetched.halves = npu_core_pkg::crosses(tile);
    fetched.drain_cycles = {1'b0, turns};
    if (tile.average) fetched.drain_cycles = {1'b0, tile.rows} + {tile.rows, 1'b0};
    else if (fetched.halves) fetched.drain_cycles = {turns, 1'b0};
    fetched.single = !tile.average && !fetched.halves &&
        tile.rows <= (npu_pkg::RowBits + 1)'(npu_pkg::DrainRows);
    fetched.eltwise = tile.eltwise ? turns : '0;
    fetched.waits = tile.eltwise;
    fetched.skipped = tile.sparse && channel_last ? channels_left_q - 11'd1 : '0;
  end

  // Taps issued and vectors fetched in this row slot; `start_q` is set until its first step.
  logic [3:0] taps_left_q;
  logic [1:0] word_q;
  logic start_q, tap_on_q, tap_first_q, tap_end_q, tile_end_q, word_on_q, word_end_q;
  logic fetch, hold, go, row_slot_end;
  logic wait_drain, wait_eltwise, backlog_on_q, row_new_q, enough_q;
  logic [5:0] backlog_q;
  assign fetch = fetching && word_on_q;
  assign wait_drain = tile_end_q && backlog_on_q;
  // Whether there are enough entries is known one cycle after the tile's first row.
  assign wait_eltwise = tile_end_q && row_q.waits && (row_new_q || !enough_q);
  assign hold = wait_drain || wait_eltwise;
  assign go = (fetching || row_q.valid) && !hold;
  assign row_slot_end = (!fetching || word_end_q) && tap_end_q;

  logic row_done, channel_done, tile_done;
  assign row_done = go && row_slot_end && fetching;
  assign channel_done = row_done && ky_last_q;
  assign tile_done = channel_done && channel_last;
  assign advance = tile_done;
  assign list_pop_o = channel_done && tile.sparse;
  assign eltwise_take_o = tile_end_q && go ? row_q.eltwise : '0;

  // Context of the next channel, and of the vectors of the next row slot.
  npu_pkg::exec_t next_cmd;
  npu_core_pkg::shape_t next_shape;
  logic channel_select;
  assign channel_select = channel_last ? next_select : select;
  assign next_cmd = commands_i[channel_select];
  assign next_shape = shapes_i[channel_select];

  always_ff @(posedge clk_i) begin
    if (go) begin
      start_q <= row_slot_end;
      if (row_slot_end) begin
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
    // A channel, a tile or a command starts.
    if (channel_done || !tile_valid) begin
      ky_first_q <= 1'b1;
      ky_last_q <= next_shape.one_tap;
      ky_left_q <= next_cmd.k[3:0];
      ky_offset_q <= padding(next_cmd.pad_y);
      channel_first_q <= 1'b0;
      channel_q <= channel;
      channels_left_q <= channels_left_q - 11'd1;
      channel_last_q <= !tile.dense || channels_left_q == 11'd2;
    end
    if (tile_done || !tile_valid) begin
      channel_first_q <= 1'b1;
      channel_q <= '0;
      channels_left_q <= next_cmd.in_channels[10:0];
      channel_last_q <= next_shape.one_channel;
    end
    if ((go && row_slot_end) || !tile_valid) begin
      word_q <= '0;
      word_on_q <= 1'b1;
      word_end_q <= !tile_valid || (fetching && ky_last_q) ? next_shape.one_word : shape.one_word;
    end

    row_new_q <= go && row_slot_end && fetched.first;
    enough_q <= eltwise_level_i >= npu_core_pkg::eltwise_count_t'(row_q.eltwise);
    if (tile_end_q && go) begin
      backlog_q <= 6'(row_q.drain_cycles) - 6'd1;
      backlog_on_q <= !row_q.single;
    end else if (backlog_on_q) begin
      backlog_q <= backlog_q - 6'd1;
      backlog_on_q <= backlog_q != 6'd1;
    end

    step_o.valid <= go;
    step_o.start <= start_q;
    step_o.fetch <= fetch;
    step_o.fetch_ctx <= select;
    step_o.word <= word_q;
    step_o.row <= tile_row + ky_offset_q;
    step_o.column <= tile_column + padding(cmd.pad_x);
    step_o.channel <= tile.dense ? 13'(channel) : 13'({tile.group, npu_pkg::RowBits'(0)});
    step_o.tap <= tap_on_q;
    step_o.tap_ctx <= row_q.ctx;
    step_o.fresh <= row_q.fresh && tap_first_q;
    step_o.first <= row_q.first && tap_first_q;
    step_o.last <= tile_end_q;
    step_o.halves <= row_q.halves;
    step_o.group_last <= row_q.group_last;

    skipped_o <= go && tap_on_q ? row_q.skipped : '0;
    stall_drain_o <= wait_drain;
    stall_eltwise_o <= wait_eltwise && !wait_drain;

    if (!rst_ni) begin
      start_q <= 1'b1;
      row_q.valid <= 1'b0;
      tap_on_q <= 1'b0;
      tap_end_q <= 1'b1;
      tile_end_q <= 1'b0;
      backlog_on_q <= 1'b0;
      step_o.valid <= 1'b0;
      skipped_o <= '0;
    end
  end

endmodule
