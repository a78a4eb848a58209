// AXI4 subordinate in front of a LiteDRAM port of the same width.
//
// Bursts are incremental and of full beats, and none crosses a multiple of 4 KiB, as npu_top issues
// them. Those outside `Base` ... `Base + Size - 1` are answered with DECERR and never reach the
// memory; both are multiples of 4 KiB, so a burst is inside or outside as a whole.
//
// The port has no way to be told to wait for data: it takes a beat of a write when it likes, and
// hands out a beat of a read once. So a write's command goes out when its beat lies here, and a
// read's when there is room for its beat. A write is answered when the memory has taken its last
// beat; a later read finds it.
module npu_dram_bridge #(
  parameter int unsigned Bytes = 4,  // of a beat: a power of two
  parameter logic [31:0] Base = 32'h4000_0000,
  parameter logic [31:0] Size = 32'h0200_0000,
  parameter int unsigned Room = 32,  // beats of either direction, a power of two
  parameter int unsigned Bursts = 4,  // bursts of either direction, a power of two
  parameter int unsigned Streak = 16  // beats while the other direction waits, likewise
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  // AXI4.
  input  logic               s_axi_arvalid_i,
  output logic               s_axi_arready_o,
  input  logic [       31:0] s_axi_araddr_i,
  input  logic [        7:0] s_axi_arlen_i,
  output logic               s_axi_rvalid_o,
  input  logic               s_axi_rready_i,
  output logic [8*Bytes-1:0] s_axi_rdata_o,
  output logic [        1:0] s_axi_rresp_o,
  output logic               s_axi_rlast_o,
  input  logic               s_axi_awvalid_i,
  output logic               s_axi_awready_o,
  input  logic [       31:0] s_axi_awaddr_i,
  input  logic [        7:0] s_axi_awlen_i,
  input  logic               s_axi_wvalid_i,
  output logic               s_axi_wready_o,
  input  logic [8*Bytes-1:0] s_axi_wdata_i,
  input  logic [  Bytes-1:0] s_axi_wstrb_i,
  input  logic               s_axi_wlast_i,
  output logic               s_axi_bvalid_o,
  input  logic               s_axi_bready_i,
  output logic [        1:0] s_axi_bresp_o,
  // LiteDRAM's port; addresses count beats from the memory's first.
  output logic               cmd_valid_o,
  input  logic               cmd_ready_i,
  output logic               cmd_we_o,
  output logic [       31:0] cmd_addr_o,
  input  logic               wdata_ready_i,
  output logic [8*Bytes-1:0] wdata_o,
  output logic [  Bytes-1:0] wdata_we_o,
  input  logic               rdata_valid_i,
  input  logic [8*Bytes-1:0] rdata_i
);
  localparam int unsigned Shift = $clog2(Bytes);
  localparam int unsigned RoomBits = $clog2(Room);
  localparam int unsigned StreakBits = $clog2(Streak);
  localparam int unsigned BurstBits = $clog2(Bursts);
  localparam logic [1:0] Okay = 2'b00;
  localparam logic [1:0] DecodeError = 2'b11;

  // A burst: whether it is inside, its first beat's address, beats after the first.
  typedef struct packed {
    logic        mapped;
    logic [31:0] addr;
    logic [7:0]  len;
  } burst_t;

  function automatic burst_t burst(input logic [31:0] addr, input logic [7:0] len);
    logic [31:0] offset;
    offset = addr - Base;
    return '{mapped: offset < Size, addr: offset >> Shift, len: len};
  endfunction

  // Reads: beats that were asked for, in order; mapped ones wait for the memory's data.
  burst_t ar_next;
  logic ar_next_valid, ar_next_ready, ar_open;
  npu_fifo #(
    .Width($bits(burst_t)),
    .Depth(Bursts)
  ) u_ar (
    .clk_i,
    .rst_ni,
    .push_valid_i(s_axi_arvalid_i),
    .push_ready_o(s_axi_arready_o),
    .push_data_i (burst(s_axi_araddr_i, s_axi_arlen_i)),
    .pop_valid_o (ar_next_valid),
    .pop_ready_i (ar_next_ready),
    .pop_data_o  (ar_next),
    .count_o     ()
  );

  burst_t ar_q;
  logic ar_valid_q, read_wants, read_goes, tag_ready;
  assign read_wants = ar_valid_q && ar_q.mapped && tag_ready;
  assign ar_open = ar_valid_q && (ar_q.mapped ? read_goes : tag_ready);
  assign ar_next_ready = !ar_valid_q || (ar_open && ar_q.len == '0);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ar_valid_q <= 1'b0;
    end else if (ar_next_ready) begin
      ar_valid_q <= ar_next_valid;
    end
    if (ar_next_ready) begin
      ar_q <= ar_next;
    end else if (ar_open) begin
      ar_q.addr <= ar_q.addr + 1'b1;
      ar_q.len <= ar_q.len - 1'b1;
    end
  end

  logic tag_valid, tag_mapped, data_valid, r_taken;
  npu_fifo #(
    .Width(2),
    .Depth(Room)
  ) u_tags (
    .clk_i,
    .rst_ni,
    .push_valid_i(ar_open),
    .push_ready_o(tag_ready),
    .push_data_i ({ar_q.mapped, ar_q.len == '0}),
    .pop_valid_o (tag_valid),
    .pop_ready_i (r_taken),
    .pop_data_o  ({tag_mapped, s_axi_rlast_o}),
    .count_o     ()
  );
  // There is room: no more beats are on their way than there are tags.
  npu_fifo #(
    .Width(8 * Bytes),
    .Depth(Room)
  ) u_data (
    .clk_i,
    .rst_ni,
    .push_valid_i(rdata_valid_i),
    .push_ready_o(),
    .push_data_i (rdata_i),
    .pop_valid_o (data_valid),
    .pop_ready_i (r_taken && tag_mapped),
    .pop_data_o  (s_axi_rdata_o),
    .count_o     ()
  );
  assign s_axi_rvalid_o = tag_valid && (data_valid || !tag_mapped);
  assign s_axi_rresp_o = tag_mapped ? Okay : DecodeError;
  assign r_taken = s_axi_rvalid_o && s_axi_rready_i;

  // Writes: bursts whose answer is still to come are limited, so that answers have room.
  burst_t aw_next;
  logic aw_next_valid, aw_next_ready, aw_room, aw_fifo_ready;
  logic [BurstBits:0] unanswered_q;
  assign aw_room = unanswered_q != (BurstBits + 1)'(Bursts);
  assign s_axi_awready_o = aw_fifo_ready && aw_room;
  npu_fifo #(
    .Width($bits(burst_t)),
    .Depth(Bursts)
  ) u_aw (
    .clk_i,
    .rst_ni,
    .push_valid_i(s_axi_awvalid_i && aw_room),
    .push_ready_o(aw_fifo_ready),
    .push_data_i (burst(s_axi_awaddr_i, s_axi_awlen_i)),
    .pop_valid_o (aw_next_valid),
    .pop_ready_i (aw_next_ready),
    .pop_data_o  (aw_next),
    .count_o     ()
  );

  logic beat_valid, beat_last, beat_leaves;
  logic [RoomBits:0] beats, owed_q;
  npu_fifo #(
    .Width(9 * Bytes + 1),
    .Depth(Room)
  ) u_beats (
    .clk_i,
    .rst_ni,
    .push_valid_i(s_axi_wvalid_i),
    .push_ready_o(s_axi_wready_o),
    .push_data_i ({s_axi_wlast_i, s_axi_wstrb_i, s_axi_wdata_i}),
    .pop_valid_o (beat_valid),
    .pop_ready_i (beat_leaves),
    .pop_data_o  ({beat_last, wdata_we_o, wdata_o}),
    .count_o     (beats)
  );

  burst_t aw_q;
  logic aw_valid_q, write_wants, write_goes, drops, aw_moves;
  // `owed_q` beats belong to commands that the memory has; those behind them are the burst's.
  assign write_wants = aw_valid_q && aw_q.mapped && beats > owed_q;
  assign drops = aw_valid_q && !aw_q.mapped && beat_valid && owed_q == '0;
  assign aw_moves = write_goes || drops;
  assign aw_next_ready = !aw_valid_q || (aw_moves && aw_q.len == '0);
  assign beat_leaves = wdata_ready_i || drops;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      aw_valid_q <= 1'b0;
      owed_q <= '0;
      unanswered_q <= '0;
    end else begin
      if (aw_next_ready) aw_valid_q <= aw_next_valid;
      owed_q <= owed_q + (RoomBits + 1)'(write_goes) - (RoomBits + 1)'(wdata_ready_i);
      unanswered_q <= unanswered_q + (BurstBits + 1)'(s_axi_awvalid_i && s_axi_awready_o)
                    - (BurstBits + 1)'(s_axi_bvalid_o && s_axi_bready_i);
    end
    if (aw_next_ready) begin
      aw_q <= aw_next;
    end else if (aw_moves) begin
      aw_q.addr <= aw_q.addr + 1'b1;
      aw_q.len <= aw_q.len - 1'b1;
    end
  end

  logic failed;
  npu_fifo #(
    .Width(1),
    .Depth(Bursts)
  ) u_b (
    .clk_i,
    .rst_ni,
    .push_valid_i(beat_leaves && beat_last),
    .push_ready_o(),
    .push_data_i (drops),
    .pop_valid_o (s_axi_bvalid_o),
    .pop_ready_i (s_axi_bready_i),
    .pop_data_o  (failed),
    .count_o     ()
  );
  assign s_axi_bresp_o = failed ? DecodeError : Okay;

  // Turning the memory's data pins round costs cycles: a direction goes on while it has beats, up to
  // `Streak` of them where the other one waits. A command that is shown stays until it is taken.
  logic [StreakBits-1:0] streak_q;
  logic write_turn_q, tired, shown_q, shown_we_q;
  assign tired = streak_q == '1;
  always_comb begin
    if (shown_q) cmd_we_o = shown_we_q;
    else if (write_turn_q) cmd_we_o = write_wants && !(read_wants && tired);
    else cmd_we_o = write_wants && (!read_wants || tired);
  end
  assign cmd_valid_o = read_wants || write_wants;
  assign cmd_addr_o = cmd_we_o ? aw_q.addr : ar_q.addr;
  assign write_goes = cmd_valid_o && cmd_ready_i && cmd_we_o;
  assign read_goes = cmd_valid_o && cmd_ready_i && !cmd_we_o;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      shown_q <= 1'b0;
      write_turn_q <= 1'b0;
      streak_q <= '0;
    end else begin
      shown_q <= cmd_valid_o && !cmd_ready_i;
      if (cmd_valid_o && cmd_ready_i) begin
        write_turn_q <= cmd_we_o;
        if (cmd_we_o != write_turn_q) streak_q <= '0;
        else if (!tired) streak_q <= streak_q + 1'b1;
      end
    end
    shown_we_q <= cmd_we_o;
  end
endmodule
