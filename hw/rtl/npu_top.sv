// Top of the accelerator: control, command stream, transfers, core. AXI4 manager of `AxiBytes` for
// data and commands, AXI4-Lite subordinate for control, one interrupt.
//
// All resets are active low and synchronous to `clk_i`.
module npu_top (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  // AXI4-Lite control.
  input  logic                           s_axi_awvalid_i,
  output logic                           s_axi_awready_o,
  input  logic [                    7:0] s_axi_awaddr_i,
  input  logic                           s_axi_wvalid_i,
  output logic                           s_axi_wready_o,
  input  logic [                   31:0] s_axi_wdata_i,
  input  logic [                    3:0] s_axi_wstrb_i,
  output logic                           s_axi_bvalid_o,
  input  logic                           s_axi_bready_i,
  output logic [                    1:0] s_axi_bresp_o,
  input  logic                           s_axi_arvalid_i,
  output logic                           s_axi_arready_o,
  input  logic [                    7:0] s_axi_araddr_i,
  output logic                           s_axi_rvalid_o,
  input  logic                           s_axi_rready_i,
  output logic [                   31:0] s_axi_rdata_o,
  output logic [                    1:0] s_axi_rresp_o,
  // AXI4 data and commands.
  output logic                           m_axi_arvalid_o,
  input  logic                           m_axi_arready_i,
  output logic [                   31:0] m_axi_araddr_o,
  output logic [                    7:0] m_axi_arlen_o,
  output logic [                    2:0] m_axi_arsize_o,
  output logic [                    1:0] m_axi_arburst_o,
  input  logic                           m_axi_rvalid_i,
  output logic                           m_axi_rready_o,
  input  logic [8*npu_pkg::AxiBytes-1:0] m_axi_rdata_i,
  input  logic [                    1:0] m_axi_rresp_i,
  input  logic                           m_axi_rlast_i,
  output logic                           m_axi_awvalid_o,
  input  logic                           m_axi_awready_i,
  output logic [                   31:0] m_axi_awaddr_o,
  output logic [                    7:0] m_axi_awlen_o,
  output logic [                    2:0] m_axi_awsize_o,
  output logic [                    1:0] m_axi_awburst_o,
  output logic                           m_axi_wvalid_o,
  input  logic                           m_axi_wready_i,
  output logic [8*npu_pkg::AxiBytes-1:0] m_axi_wdata_o,
  output logic [  npu_pkg::AxiBytes-1:0] m_axi_wstrb_o,
  output logic                           m_axi_wlast_o,
  input  logic                           m_axi_bvalid_i,
  output logic                           m_axi_bready_o,
  input  logic [                    1:0] m_axi_bresp_i,
  output logic                           irq_o,
  // For logic analysers: a command of LOAD, EXEC, STORE was taken; was finished.
  output logic [                    2:0] event_taken_o,
  output logic [                    2:0] event_finished_o
);
  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;
  localparam int unsigned StoreRoom = 32;
  localparam int unsigned ReadBursts = 16;

  if (npu_pkg::Lanes != 8 && npu_pkg::Lanes != 16) begin : gen_lanes
    $error("a vector has one or two beats");
  end
  if (npu_pkg::Rows != 4 && npu_pkg::Rows != 8 && npu_pkg::Rows != 16) begin : gen_rows
    $error("a weight word has 4, 8 or 16 bytes");
  end

  // Registers and state.
  logic
      start,
      start_q,
      reset,
      forget,
      frame_start,
      running,
      done,
      fault,
      resetting,
      stop,
      clear,
      core_rst_nq;
  logic raise_done, raise_fault;
  logic [31:0] watchdog, stream_address, fault_info;
  logic [26:0] stream_units;
  logic [1:0][31:0] region_base, region_bytes;
  logic [3:0] fault_code;
  logic [12:0][31:0] counters  /* verilator public_flat_rd */;

  // The core's reset is registered because of its fan-out. A start by software is delayed to match.
  logic [3:0] unit_rst_nq;  // command fetch, LOAD, STORE, core
  always_ff @(posedge clk_i) begin
    core_rst_nq <= rst_ni && !clear;
    start_q <= start;
  end
  for (genvar i = 0; i < 4; i++) begin : gen_rst
    npu_replica u_rst (
      .clk_i,
      .d_i(rst_ni && !clear),
      .q_o(unit_rst_nq[i])
    );
  end

  npu_csr u_csr (
    .clk_i,
    .rst_ni,
    .s_axi_awvalid_i,
    .s_axi_awready_o,
    .s_axi_awaddr_i,
    .s_axi_wvalid_i,
    .s_axi_wready_o,
    .s_axi_wdata_i,
    .s_axi_wstrb_i,
    .s_axi_bvalid_o,
    .s_axi_bready_i,
    .s_axi_bresp_o,
    .s_axi_arvalid_i,
    .s_axi_arready_o,
    .s_axi_araddr_i,
    .s_axi_rvalid_o,
    .s_axi_rready_i,
    .s_axi_rdata_o,
    .s_axi_rresp_o,
    .start_o         (start),
    .reset_o         (reset),
    .forget_o        (forget),
    .watchdog_o      (watchdog),
    .stream_address_o(stream_address),
    .stream_units_o  (stream_units),
    .region_base_o   (region_base),
    .region_bytes_o  (region_bytes),
    .busy_i          (running),
    .frame_done_i    (done),
    .fault_i         (fault),
    .resetting_i     (resetting),
    .fault_code_i    (fault_code),
    .fault_info_i    (fault_info),
    .raise_done_i    (raise_done),
    .raise_fault_i   (raise_fault),
    .counters_i      (counters),
    .irq_o
  );

  // Bus engines.
  logic [1:0] read_req_valid, read_req_ready, read_valid, read_ready;
  logic [1:0][31:0] read_req_address;
  logic [1:0][15:0] read_req_beats;
  logic [63:0] read_data;
  logic read_error, read_error_client, read_idle, read_moved, load_ready_q;
  logic [31:0] read_error_address;

  // Engine side of the data bus.
  logic arvalid, arready, rvalid, rready, rlast, awvalid, awready, wvalid, wready, wlast;
  logic [31:0] araddr, awaddr;
  logic [7:0] arlen, awlen;
  logic [63:0] rdata, wdata;
  logic [1:0] rresp;

  npu_axi_read #(
    .MaxOutstanding(ReadBursts)
  ) u_axi_read (
    .clk_i,
    .rst_ni         (core_rst_nq),
    .stop_i         (stop),
    .req_valid_i    (read_req_valid),
    .req_ready_o    (read_req_ready),
    .req_address_i  (read_req_address),
    .req_beats_i    (read_req_beats),
    .data_valid_o   (read_valid),
    .data_ready_i   (read_ready),
    .data_o         (read_data),
    .error_o        (read_error),
    .error_client_o (read_error_client),
    .error_address_o(read_error_address),
    .idle_o         (read_idle),
    .moved_o        (read_moved),
    .m_axi_arvalid_o(arvalid),
    .m_axi_arready_i(arready),
    .m_axi_araddr_o (araddr),
    .m_axi_arlen_o  (arlen),
    .m_axi_rvalid_i (rvalid),
    .m_axi_rready_o (rready),
    .m_axi_rdata_i  (rdata),
    .m_axi_rresp_i  (rresp),
    .m_axi_rlast_i  (rlast)
  );

  logic write_req_valid, write_req_ready, write_req_last, word_popped, store_done;
  logic [31:0] write_req_address, write_error_address;
  logic [15:0] write_req_beats;
  logic st_rvalid, write_error, write_idle, write_moved, write_acknowledged;
  logic [8*npu_pkg::Lanes-1:0] st_rdata;

  npu_axi_write #(
    .Room(StoreRoom)
  ) u_axi_write (
    .clk_i,
    .rst_ni         (core_rst_nq),
    .stop_i         (stop),
    .req_valid_i    (write_req_valid),
    .req_ready_o    (write_req_ready),
    .req_address_i  (write_req_address),
    .req_beats_i    (write_req_beats),
    .req_last_i     (write_req_last),
    .word_valid_i   (st_rvalid),
    .word_i         (st_rdata),
    .word_popped_o  (word_popped),
    .done_o         (store_done),
    .error_o        (write_error),
    .error_address_o(write_error_address),
    .idle_o         (write_idle),
    .moved_o        (write_moved),
    .acknowledged_o (write_acknowledged),
    .m_axi_awvalid_o(awvalid),
    .m_axi_awready_i(awready),
    .m_axi_awaddr_o (awaddr),
    .m_axi_awlen_o  (awlen),
    .m_axi_wvalid_o (wvalid),
    .m_axi_wready_i (wready),
    .m_axi_wdata_o  (wdata),
    .m_axi_wlast_o  (wlast),
    .m_axi_bvalid_i,
    .m_axi_bready_o,
    .m_axi_bresp_i
  );

  npu_axi_width #(
    .MaxReads(ReadBursts)
  ) u_axi_width (
    .clk_i,
    .rst_ni         (core_rst_nq),
    .s_axi_arvalid_i(arvalid),
    .s_axi_arready_o(arready),
    .s_axi_araddr_i (araddr),
    .s_axi_arlen_i  (arlen),
    .s_axi_rvalid_o (rvalid),
    .s_axi_rready_i (rready),
    .s_axi_rdata_o  (rdata),
    .s_axi_rresp_o  (rresp),
    .s_axi_rlast_o  (rlast),
    .s_axi_awvalid_i(awvalid),
    .s_axi_awready_o(awready),
    .s_axi_awaddr_i (awaddr),
    .s_axi_awlen_i  (awlen),
    .s_axi_wvalid_i (wvalid),
    .s_axi_wready_o (wready),
    .s_axi_wdata_i  (wdata),
    .s_axi_wlast_i  (wlast),
    .m_axi_arvalid_o,
    .m_axi_arready_i,
    .m_axi_araddr_o,
    .m_axi_arlen_o,
    .m_axi_arsize_o,
    .m_axi_rvalid_i,
    .m_axi_rready_o,
    .m_axi_rdata_i,
    .m_axi_rresp_i,
    .m_axi_rlast_i,
    .m_axi_awvalid_o,
    .m_axi_awready_i,
    .m_axi_awaddr_o,
    .m_axi_awlen_o,
    .m_axi_awsize_o,
    .m_axi_wvalid_o,
    .m_axi_wready_i,
    .m_axi_wdata_o,
    .m_axi_wstrb_o,
    .m_axi_wlast_o
  );
  assign m_axi_arburst_o = 2'b01;
  assign m_axi_awburst_o = 2'b01;

  // Command stream and queues: LOAD, EXEC, STORE.
  logic [2:0] push_valid, push_ready, queue_empty, head_valid, head_pop, finished;
  logic [63:0] push_data;
  logic [2:0][15:0] taken_q, finished_q;
  logic [2:0][2:0] head_waits;
  logic [2:0] beat_valid, beat_target;
  logic beat_room, beat_pending;
  logic [63:0] beat;
  logic exhausted, fetch_illegal;
  logic [26:0] unit;

  npu_fetch u_fetch (
    .clk_i,
    .rst_ni          (unit_rst_nq[0]),
    .start_i         (frame_start),
    .stop_i          (stop),
    .stream_address_i(stream_address),
    .stream_units_i  (stream_units),
    .req_valid_o     (read_req_valid[0]),
    .req_ready_i     (read_req_ready[0]),
    .req_address_o   (read_req_address[0]),
    .req_beats_o     (read_req_beats[0]),
    .data_valid_i    (read_valid[0]),
    .data_i          (read_data),
    .push_valid_o    (beat_valid),
    .push_ready_i    ({3{beat_room}}),
    .push_data_o     (beat),
    .exhausted_o     (exhausted),
    .illegal_o       (fetch_illegal),
    .unit_o          (unit)
  );
  // Skid buffer: decouples the long routes to the three queues; it holds a beat and its target.
  npu_fifo #(
    .Width(67),
    .Depth(2)
  ) u_beats (
    .clk_i,
    .rst_ni      (unit_rst_nq[0]),
    .push_valid_i(beat_valid != '0),
    .push_ready_o(beat_room),
    .push_data_i ({beat_valid, beat}),
    .pop_valid_o (beat_pending),
    .pop_ready_i ((beat_target & push_ready) != '0),
    .pop_data_o  ({beat_target, push_data}),
    .count_o     ()
  );
  assign push_valid = beat_target & {3{beat_pending}};
  assign read_ready = {load_ready_q, 1'b1};

  npu_pkg::transfer_t load_cmd, store_cmd;
  npu_pkg::exec_t exec_cmd;

  npu_queue #(
    .Beats(npu_pkg::TransferBits / 64),
    .Depth(64)
  ) u_load_queue (
    .clk_i,
    .rst_ni      (unit_rst_nq[1]),
    .push_valid_i(push_valid[0]),
    .push_ready_o(push_ready[0]),
    .push_data_i (push_data),
    .finished_i  (finished_q),
    .empty_o     (queue_empty[0]),
    .head_valid_o(head_valid[0]),
    .head_o      (load_cmd),
    .head_waits_o(head_waits[0]),
    .pop_i       (head_pop[0])
  );
  npu_queue #(
    .Beats(npu_pkg::ExecBits / 64),
    .Depth(64)
  ) u_exec_queue (
    .clk_i,
    .rst_ni      (unit_rst_nq[3]),
    .push_valid_i(push_valid[1]),
    .push_ready_o(push_ready[1]),
    .push_data_i (push_data),
    .finished_i  (finished_q),
    .empty_o     (queue_empty[1]),
    .head_valid_o(head_valid[1]),
    .head_o      (exec_cmd),
    .head_waits_o(head_waits[1]),
    .pop_i       (head_pop[1])
  );
  npu_queue #(
    .Beats(npu_pkg::TransferBits / 64),
    .Depth(32)
  ) u_store_queue (
    .clk_i,
    .rst_ni      (unit_rst_nq[2]),
    .push_valid_i(push_valid[2]),
    .push_ready_o(push_ready[2]),
    .push_data_i (push_data),
    .finished_i  (finished_q),
    .empty_o     (queue_empty[2]),
    .head_valid_o(head_valid[2]),
    .head_o      (store_cmd),
    .head_waits_o(head_waits[2]),
    .pop_i       (head_pop[2])
  );

  // Commands taken from each queue, and finished, in this frame.
  for (genvar i = 0; i < 3; i++) begin : gen_count
    always_ff @(posedge clk_i) begin
      if (!core_rst_nq || frame_start) begin
        taken_q[i] <= '0;
        finished_q[i] <= '0;
      end else begin
        if (head_pop[i]) taken_q[i] <= taken_q[i] + 1'b1;
        if (finished[i]) finished_q[i] <= finished_q[i] + 1'b1;
      end
    end
  end
  assign event_taken_o = head_pop;
  assign event_finished_o = finished;

  // Transfers.
  logic ld_valid, ld_ready, lw_valid, lp_valid, lt_valid, lt_select;
  logic [npu_pkg::RowBits-1:0] ld_bank, st_bank;
  logic [AddrBits-1:0] ld_addr, st_addr;
  logic [8*npu_pkg::Lanes-1:0] ld_data;
  logic [npu_pkg::Lanes-1:0] ld_be;
  logic [npu_pkg::WeightAddrBits-1:0] lw_addr;
  logic [8*npu_pkg::Rows+7:0] lw_data;
  logic [npu_pkg::ParamAddrBits-1:0] lp_addr;
  logic [127:0] lp_data;
  logic [4:0] lt_addr;
  logic [63:0] lt_data;
  logic st_valid, st_ready, word_valid, word_ready;
  logic [npu_pkg::RowBits-1:0] word_bank;
  logic [AddrBits-1:0] word_addr;
  logic load_illegal, load_outside, load_idle, load_done, store_illegal, store_outside, store_idle;

  // The bus handshake ends at this buffer and the loader's handshake begins. Both sides of the bus
  // handshake are registered, so up to three accepted beats are not counted yet.
  logic load_beat_valid, load_beat_ready, load_push_q;
  logic [63:0] load_beat, load_data_q;
  logic [3:0] load_waiting;
  always_ff @(posedge clk_i) begin
    load_push_q <= read_valid[1] && load_ready_q && core_rst_nq;
    load_data_q <= read_data;
    load_ready_q <= load_waiting < 4'd4 && core_rst_nq;
  end
  npu_fifo #(
    .Width(64),
    .Depth(8)
  ) u_load_beats (
    .clk_i,
    .rst_ni      (core_rst_nq),
    .push_valid_i(load_push_q),
    .push_ready_o(),
    .push_data_i (load_data_q),
    .pop_valid_o (load_beat_valid),
    .pop_ready_i (load_beat_ready),
    .pop_data_o  (load_beat),
    .count_o     (load_waiting)
  );

  npu_load u_load (
    .clk_i,
    .rst_ni        (unit_rst_nq[1]),
    .stop_i        (stop),
    .cmd_valid_i   (head_valid[0]),
    .cmd_i         (load_cmd),
    .cmd_waits_i   (|head_waits[0]),
    .cmd_pop_o     (head_pop[0]),
    .region_base_i (region_base),
    .region_bytes_i(region_bytes),
    .illegal_o     (load_illegal),
    .outside_o     (load_outside),
    .done_o        (load_done),
    .idle_o        (load_idle),
    .req_valid_o   (read_req_valid[1]),
    .req_ready_i   (read_req_ready[1]),
    .req_address_o (read_req_address[1]),
    .req_beats_o   (read_req_beats[1]),
    .data_valid_i  (load_beat_valid),
    .data_ready_o  (load_beat_ready),
    .data_i        (load_beat),
    .ld_valid_o    (ld_valid),
    .ld_ready_i    (ld_ready),
    .ld_bank_o     (ld_bank),
    .ld_addr_o     (ld_addr),
    .ld_data_o     (ld_data),
    .ld_be_o       (ld_be),
    .lw_valid_o    (lw_valid),
    .lw_addr_o     (lw_addr),
    .lw_data_o     (lw_data),
    .lp_valid_o    (lp_valid),
    .lp_addr_o     (lp_addr),
    .lp_data_o     (lp_data),
    .lt_valid_o    (lt_valid),
    .lt_select_o   (lt_select),
    .lt_addr_o     (lt_addr),
    .lt_data_o     (lt_data)
  );

  npu_store #(
    .Room(StoreRoom)
  ) u_store (
    .clk_i,
    .rst_ni        (unit_rst_nq[2]),
    .stop_i        (stop),
    .cmd_valid_i   (head_valid[2]),
    .cmd_i         (store_cmd),
    .cmd_waits_i   (|head_waits[2]),
    .cmd_pop_o     (head_pop[2]),
    .region_base_i (region_base[1]),
    .region_bytes_i(region_bytes[1]),
    .illegal_o     (store_illegal),
    .outside_o     (store_outside),
    .idle_o        (store_idle),
    .req_valid_o   (write_req_valid),
    .req_ready_i   (write_req_ready),
    .req_address_o (write_req_address),
    .req_beats_o   (write_req_beats),
    .req_last_o    (write_req_last),
    .word_popped_i (word_popped),
    .st_valid_o    (word_valid),
    .st_ready_i    (word_ready),
    .st_bank_o     (word_bank),
    .st_addr_o     (word_addr)
  );

  // Decouples the address generator from the bank arbiter, whose grant is late.
  npu_fifo #(
    .Width(npu_pkg::RowBits + AddrBits),
    .Depth(2)
  ) u_store_words (
    .clk_i,
    .rst_ni      (unit_rst_nq[2]),
    .push_valid_i(word_valid),
    .push_ready_o(word_ready),
    .push_data_i ({word_bank, word_addr}),
    .pop_valid_o (st_valid),
    .pop_ready_i (st_ready),
    .pop_data_o  ({st_bank, st_addr}),
    .count_o     ()
  );

  // Core. END is the only command of its queue that the core does not see.
  logic is_end_q, exec_valid, exec_ready, exec_done, exec_illegal, exec_idle;
  logic busy_mac, stall_drain, stall_residual;
  logic [10:0] skipped;

  // The opcode arrives with the first beat, long before the command is complete.
  always_ff @(posedge clk_i) is_end_q <= exec_cmd.opcode == npu_pkg::OpEnd;
  assign exec_valid = running && head_valid[1] && !is_end_q && head_waits[1] == '0;

  npu_exec u_exec (
    .clk_i,
    .rst_ni          (unit_rst_nq[3]),
    .cmd_valid_i     (exec_valid),
    .cmd_ready_o     (exec_ready),
    .cmd_i           (exec_cmd),
    .done_o          (exec_done),
    .illegal_o       (exec_illegal),
    .ld_valid_i      (ld_valid),
    .ld_ready_o      (ld_ready),
    .ld_bank_i       (ld_bank),
    .ld_addr_i       (ld_addr),
    .ld_data_i       (ld_data),
    .ld_be_i         (ld_be),
    .st_valid_i      (st_valid),
    .st_ready_o      (st_ready),
    .st_bank_i       (st_bank),
    .st_addr_i       (st_addr),
    .st_rvalid_o     (st_rvalid),
    .st_rdata_o      (st_rdata),
    .lw_valid_i      (lw_valid),
    .lw_addr_i       (lw_addr),
    .lw_data_i       (lw_data),
    .lp_valid_i      (lp_valid),
    .lp_addr_i       (lp_addr),
    .lp_data_i       (lp_data),
    .lt_valid_i      (lt_valid),
    .lt_select_i     (lt_select),
    .lt_addr_i       (lt_addr),
    .lt_data_i       (lt_data),
    .busy_mac_o      (busy_mac),
    .skipped_o       (skipped),
    .stall_drain_o   (stall_drain),
    .stall_residual_o(stall_residual),
    .idle_o          (exec_idle)
  );

  // The frame ends with END; a stream that runs out without END is truncated.
  logic finish, drained, truncated;
  assign drained = queue_empty[0] && queue_empty[2] && load_idle && store_idle && exec_idle;
  always_ff @(posedge clk_i) begin
    finish <= running && head_valid[1] && is_end_q && head_waits[1] == '0 && drained && read_idle &&
        write_idle && !finish && core_rst_nq;
    truncated <= exhausted && queue_empty[1] && drained && core_rst_nq;
  end
  assign head_pop[1] = (exec_valid && exec_ready) || finish;
  assign finished = {store_done, exec_done || finish, load_done};

  // Faults and progress are registered, since they come from everywhere.
  typedef struct packed {
    logic read, read_command, write, load_illegal, load_outside, store_illegal, store_outside;
    logic exec_illegal, stream_illegal;
    logic [31:0] read_address, write_address;
    logic [15:0] load_index, store_index, exec_index;
    logic [26:0] stream_unit;
  } faults_t;
  faults_t faults_q;
  logic progress;
  always_ff @(posedge clk_i) begin
    progress <= read_moved || write_moved || write_acknowledged || busy_mac || exec_done ||
        load_done;
    faults_q <= '{
        read: read_error,
        read_command: !read_error_client,
        read_address: read_error_address,
        write: write_error,
        write_address: write_error_address,
        load_illegal: load_illegal,
        load_outside: load_outside,
        load_index: taken_q[0],
        store_illegal: store_illegal,
        store_outside: store_outside,
        store_index: taken_q[2],
        exec_illegal: exec_illegal,
        exec_index: taken_q[1] - 16'd1,
        stream_illegal: fetch_illegal || truncated,
        stream_unit: unit
    };
    if (!core_rst_nq) faults_q <= '0;
  end

  npu_control u_control (
    .clk_i,
    .rst_ni,
    .start_i              (start_q && core_rst_nq),
    .reset_i              (reset),
    .forget_i             (forget),
    .watchdog_i           (watchdog),
    .finish_i             (finish),
    .bus_idle_i           (read_idle && write_idle),
    .progress_i           (progress),
    .read_error_i         (faults_q.read),
    .read_error_command_i (faults_q.read_command),
    .read_error_address_i (faults_q.read_address),
    .write_error_i        (faults_q.write),
    .write_error_address_i(faults_q.write_address),
    .load_illegal_i       (faults_q.load_illegal),
    .load_outside_i       (faults_q.load_outside),
    .load_index_i         (faults_q.load_index),
    .store_illegal_i      (faults_q.store_illegal),
    .store_outside_i      (faults_q.store_outside),
    .store_index_i        (faults_q.store_index),
    .exec_illegal_i       (faults_q.exec_illegal),
    .exec_index_i         (faults_q.exec_index),
    .stream_illegal_i     (faults_q.stream_illegal),
    .stream_unit_i        (faults_q.stream_unit),
    .exec_finished_i      (finished_q[1]),
    .frame_start_o        (frame_start),
    .running_o            (running),
    .done_o               (done),
    .fault_o              (fault),
    .resetting_o          (resetting),
    .fault_code_o         (fault_code),
    .fault_info_o         (fault_info),
    .raise_done_o         (raise_done),
    .raise_fault_o        (raise_fault),
    .stop_o               (stop),
    .clear_o              (clear)
  );

  // Reasons why the core is idle.
  logic starved;
  assign starved = running && exec_idle;
  npu_counters u_counters (
    .clk_i,
    .rst_ni          (core_rst_nq),
    .frame_start_i   (frame_start),
    .running_i       (running),
    .mac_i           (busy_mac),
    .skipped_i       (skipped),
    .stall_load_i    (starved && head_valid[1] && head_waits[1][0]),
    .stall_store_i   (starved && head_valid[1] && !head_waits[1][0] && head_waits[1][2]),
    .stall_drain_i   (stall_drain),
    .stall_residual_i(stall_residual),
    .stall_command_i (starved && !head_valid[1]),
    .beat_read_i     (read_moved),
    .beat_written_i  (write_moved),
    .finished_i      (finished),
    .counters_o      (counters)
  );
endmodule
