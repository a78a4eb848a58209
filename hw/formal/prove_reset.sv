// npu_control with the bus engines, wired as in npu_top: no soft reset leaves anything on the bus.
//
// The model counts what the memory has been asked and has not answered; only a reset of the memory
// itself clears the count. Whatever the memory does, and however late: an offer stays on the bus
// until it is accepted, every answer belongs to a known burst, and a frame starts with no answer
// pending from before.
module prove_reset #(
  parameter int unsigned MaxReads  = 16,
  parameter int unsigned MaxWrites = 8,
  parameter int unsigned MaxBurst  = 32,
  parameter int unsigned Room      = 32
) (
  input logic                              clk_i,
  input logic                              rst_ni,
  input logic                              start_i,
  input logic                              reset_i,
  input logic                              forget_i,
  input logic [                31:0]       watchdog_i,
  input logic                              finish_i,
  input logic                              unsound_i,
  input logic                              progress_i,
  input logic [                 1:0]       read_req_valid_i,
  input logic [                 1:0][31:0] read_req_address_i,
  input logic [                 1:0][15:0] read_req_beats_i,
  input logic [                 1:0]       read_ready_i,
  input logic                              write_req_valid_i,
  input logic [                31:0]       write_req_address_i,
  input logic [                15:0]       write_req_beats_i,
  input logic                              write_req_last_i,
  input logic                              word_valid_i,
  input logic [8*npu_pkg::Lanes-1:0]       word_i,
  input logic                              m_axi_arready_i,
  input logic                              m_axi_rvalid_i,
  input logic [                63:0]       m_axi_rdata_i,
  input logic [                 1:0]       m_axi_rresp_i,
  input logic                              m_axi_rlast_i,
  input logic                              m_axi_awready_i,
  input logic                              m_axi_wready_i,
  input logic                              m_axi_bvalid_i,
  input logic [                 1:0]       m_axi_bresp_i
);
  logic
      frame_start,
      running,
      done,
      fault,
      resetting,
      raise_done,
      raise_fault,
      stop,
      clear,
      core_rst_nq;
  logic [3:0] fault_code;
  logic [31:0] fault_info, read_error_address, write_error_address, m_axi_araddr, m_axi_awaddr;
  logic [1:0] read_req_ready, read_valid;
  logic [63:0] read_data, m_axi_wdata;
  logic
      read_error,
      read_error_client,
      read_idle,
      read_moved,
      write_req_ready,
      word_popped,
      store_done;
  logic write_error, write_idle, write_moved, acknowledged;
  logic m_axi_arvalid, m_axi_rready, m_axi_awvalid, m_axi_wvalid, m_axi_wlast, m_axi_bready;
  logic [7:0] m_axi_arlen, m_axi_awlen;

  always_ff @(posedge clk_i) core_rst_nq <= rst_ni && !clear;

  npu_control u_control (
    .clk_i,
    .rst_ni,
    .start_i              (start_i && core_rst_nq),
    .reset_i,
    .forget_i,
    .watchdog_i,
    .finish_i,
    .bus_idle_i           (read_idle && write_idle),
    .progress_i,
    .read_error_i         (read_error),
    .read_error_command_i (!read_error_client),
    .read_error_address_i (read_error_address),
    .write_error_i        (write_error),
    .write_error_address_i(write_error_address),
    .load_illegal_i       (unsound_i),
    .load_outside_i       (1'b0),
    .load_index_i         ('0),
    .store_illegal_i      (1'b0),
    .store_outside_i      (1'b0),
    .store_index_i        ('0),
    .exec_illegal_i       (1'b0),
    .exec_index_i         ('0),
    .stream_illegal_i     (1'b0),
    .stream_unit_i        ('0),
    .exec_finished_i      ('0),
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
  npu_axi_read #(
    .MaxBurst      (MaxBurst),
    .MaxOutstanding(MaxReads)
  ) u_read (
    .clk_i,
    .rst_ni         (core_rst_nq),
    .stop_i         (stop),
    .req_valid_i    (read_req_valid_i),
    .req_ready_o    (read_req_ready),
    .req_address_i  (read_req_address_i),
    .req_beats_i    (read_req_beats_i),
    .data_valid_o   (read_valid),
    .data_ready_i   (read_ready_i),
    .data_o         (read_data),
    .error_o        (read_error),
    .error_client_o (read_error_client),
    .error_address_o(read_error_address),
    .idle_o         (read_idle),
    .moved_o        (read_moved),
    .m_axi_arvalid_o(m_axi_arvalid),
    .m_axi_arready_i,
    .m_axi_araddr_o (m_axi_araddr),
    .m_axi_arlen_o  (m_axi_arlen),
    .m_axi_rvalid_i,
    .m_axi_rready_o (m_axi_rready),
    .m_axi_rdata_i,
    .m_axi_rresp_i,
    .m_axi_rlast_i
  );
  npu_axi_write #(
    .Room          (Room),
    .MaxBurst      (MaxBurst),
    .MaxOutstanding(MaxWrites)
  ) u_write (
    .clk_i,
    .rst_ni         (core_rst_nq),
    .stop_i         (stop),
    .req_valid_i    (write_req_valid_i),
    .req_ready_o    (write_req_ready),
    .req_address_i  (write_req_address_i),
    .req_beats_i    (write_req_beats_i),
    .req_last_i     (write_req_last_i),
    .word_valid_i,
    .word_i,
    .word_popped_o  (word_popped),
    .done_o         (store_done),
    .error_o        (write_error),
    .error_address_o(write_error_address),
    .idle_o         (write_idle),
    .moved_o        (write_moved),
    .acknowledged_o (acknowledged),
    .m_axi_awvalid_o(m_axi_awvalid),
    .m_axi_awready_i,
    .m_axi_awaddr_o (m_axi_awaddr),
    .m_axi_awlen_o  (m_axi_awlen),
    .m_axi_wvalid_o (m_axi_wvalid),
    .m_axi_wready_i,
    .m_axi_wdata_o  (m_axi_wdata),
    .m_axi_wlast_o  (m_axi_wlast),
    .m_axi_bvalid_i,
    .m_axi_bready_o (m_axi_bready),
    .m_axi_bresp_i
  );

  // Memory: read bursts that it has not completed; write bursts without an answer whose address,
  // and whose beats, it has.
  localparam int unsigned ReadBits = $clog2(MaxReads);
  localparam int unsigned WriteBits = $clog2(MaxWrites);
  logic [ReadBits:0] reads_q;
  logic [WriteBits:0] addressed_q, written_q;
  // The soft reset includes the memory; the core is cleared one cycle later.
  logic forgetting_q, forgotten_q, stop_q;

  // Nothing is pending or offered; second and later cycles of a reset that waits.
  logic empty, empty_q, draining_q;
  assign empty = reads_q == '0 && addressed_q == '0 && written_q == '0 && !m_axi_arvalid &&
      !m_axi_awvalid && !m_axi_wvalid;

  // The bus in the previous cycle.
  logic early_q = 1'b0;
  logic begun_q = 1'b0;
  logic ar_waits_q, aw_waits_q, w_waits_q, w_last_q;
  logic [31:0] araddr_q, awaddr_q;
  logic [7:0] arlen_q, awlen_q;
  logic [63:0] wdata_q;

  always_ff @(posedge clk_i) begin
    early_q <= 1'b1;
    begun_q <= early_q;
    forgetting_q <= reset_i && forget_i;
    forgotten_q <= forgetting_q;
    empty_q <= empty;
    draining_q <= resetting && !clear && stop_q;
    stop_q <= stop;
    reads_q <= reads_q + (ReadBits + 1)'(m_axi_arvalid && m_axi_arready_i) -
        (ReadBits + 1)'(m_axi_rvalid_i && m_axi_rready && m_axi_rlast_i);
    addressed_q <= addressed_q + (WriteBits + 1)'(m_axi_awvalid && m_axi_awready_i) -
        (WriteBits + 1)'(acknowledged);
    written_q <= written_q + (WriteBits + 1)'(m_axi_wvalid && m_axi_wready_i && m_axi_wlast) -
        (WriteBits + 1)'(acknowledged);
    ar_waits_q <= m_axi_arvalid && !m_axi_arready_i;
    aw_waits_q <= m_axi_awvalid && !m_axi_awready_i;
    w_waits_q <= m_axi_wvalid && !m_axi_wready_i;
    w_last_q <= m_axi_wlast;
    araddr_q <= m_axi_araddr;
    awaddr_q <= m_axi_awaddr;
    arlen_q <= m_axi_arlen;
    awlen_q <= m_axi_awlen;
    wdata_q <= m_axi_wdata;
    if (!rst_ni || forgotten_q) begin
      reads_q <= '0;
      addressed_q <= '0;
      written_q <= '0;
      ar_waits_q <= 1'b0;
      aw_waits_q <= 1'b0;
      w_waits_q <= 1'b0;
    end
    if (!rst_ni) begin
      draining_q <= 1'b0;
      forgetting_q <= 1'b0;
      forgotten_q <= 1'b0;
    end
  end

  always_comb begin
    // The engines' own reset comes one cycle later.
    assume (rst_ni == begun_q);
    // The memory answers only what it has been asked, at any time.
    if (reads_q == '0) assume (!m_axi_rvalid_i);
    if (addressed_q == '0 || written_q == '0) assume (!m_axi_bvalid_i);
    // Clients request only during a frame; its end waits for the bus.
    if (!running) assume (read_req_valid_i == '0 && !write_req_valid_i);
    if (finish_i) assume (read_idle && write_idle && read_req_valid_i == '0 && !write_req_valid_i);
    // STORE counts the free entries.
    if (u_write.u_words.count_o == ($clog2(Room) + 1)'(Room)) assume (!word_valid_i);
    if (write_req_valid_i) assume (write_req_beats_i != '0);
    for (int c = 0; c < 2; c++) if (read_req_valid_i[c]) assume (read_req_beats_i[c] != '0);

    if (begun_q) begin
      // An offer stays until it is accepted, during and after a reset.
      if (ar_waits_q) assert (m_axi_arvalid && m_axi_araddr == araddr_q && m_axi_arlen == arlen_q);
      if (aw_waits_q) assert (m_axi_awvalid && m_axi_awaddr == awaddr_q && m_axi_awlen == awlen_q);
      if (w_waits_q) assert (m_axi_wvalid && m_axi_wdata == wdata_q && m_axi_wlast == w_last_q);
      // Every answer belongs to a burst that the engines know; without a frame it is accepted at
      // once.
      if (m_axi_rvalid_i && !forgotten_q)
        assert (m_axi_rready == (!running || read_ready_i[u_read.owner]));
      if (m_axi_bvalid_i) assert (m_axi_bready);
      // Outside a frame no client receives anything (a client under reset ignores it).
      if (!running && core_rst_nq) assert (read_valid == '0 && !store_done);
      // A frame starts on an empty bus.
      if (frame_start) assert (empty);
      // A reset ends exactly when nothing is pending any more.
      if (clear && !forgetting_q) assert (empty);
      if (draining_q && empty_q) assert (clear);
    end
  end

  // Invariants between the registers and the model, for the induction.
  logic at_rest;
  assign at_rest = read_idle && write_idle;
  always_comb begin
    if (begun_q) begin
      assert (forgotten_q ? !core_rst_nq : 1'b1);
      assert (forgetting_q ? clear : 1'b1);
      // Where no frame runs and none has failed, nothing is in flight unless it is about to be
      // discarded.
      if (!running && !fault && !(resetting && !clear) && !forgetting_q && !forgotten_q)
        assert (at_rest);
      assert (32'(u_read.u_outstanding.count_o) == 32'(reads_q) + 32'(m_axi_arvalid));
      assert (32'(u_write.u_outstanding.count_o) == 32'(addressed_q) + 32'(m_axi_awvalid));
      assert (32'(u_write.u_outstanding.count_o) == 32'(written_q) + 32'(u_write.w_left_q != '0));
      assert (32'(u_read.u_outstanding.count_o) <= MaxReads &&
              32'(u_write.u_outstanding.count_o) <= MaxWrites);
      for (int c = 0; c < 2; c++) begin
        if (u_read.active_q[c]) assert (u_read.left_q[c] != '0);
        if (u_read.known_q[c])
          assert (u_read.active_q[c] && 16'(u_read.burst_q[c]) <= u_read.left_q[c] &&
                  u_read.burst_q[c] != '0);
      end
      if (u_write.active_q) assert (u_write.left_q != '0);
      if (u_write.known_q)
        assert (u_write.active_q && u_write.burst != '0 && 16'(u_write.burst) <= u_write.left_q);
      // The beats of the burst are in the buffer.
      assert (u_write.beats_q >= 7'(u_write.w_left_q));
      assert (32'(u_write.u_words.count_o) <= Room);
      assert (8'(u_write.beats_q) + 8'(u_write.odd_q) == 8'({u_write.u_words.count_o, 1'b0}));
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (clear && !forgetting_q && resetting && m_axi_bresp_i == 2'b10 && read_error_client);
      cover (resetting && m_axi_rvalid_i && m_axi_rready && m_axi_rlast_i && reads_q == 2);
      cover (resetting && m_axi_wvalid && m_axi_wready_i && !m_axi_wlast && aw_waits_q);
      cover (forgotten_q && ar_waits_q);
      cover (frame_start && fault_code == '0 && awlen_q != '0);
    end
  end
endmodule
