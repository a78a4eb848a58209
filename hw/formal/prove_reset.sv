// npu_control with the bus engines, wired as in npu_top: no soft reset leaves anything on the bus.
//
// The model keeps the memory's own count of what it has been asked and has not answered; no reset but that of
// the memory itself takes anything off it. Whatever memory does, and however late: what stands on the bus
// stands there until it is taken, every answer finds the burst that it belongs to, and a frame starts with
// nothing owed from before.
module prove_reset #(
  parameter int unsigned MaxReads = 16,
  parameter int unsigned MaxWrites = 8,
  parameter int unsigned MaxBurst = 32,
  parameter int unsigned Room = 32
) (
  input logic             clk,
  input logic             rst,
  input logic             start,
  input logic             reset,
  input logic             forget,
  input logic [31:0]      watchdog,
  input logic             finish,
  input logic             unsound,
  input logic             progress,
  input logic [1:0]       read_req_valid,
  input logic [1:0][31:0] read_req_address,
  input logic [1:0][15:0] read_req_beats,
  input logic [1:0]       read_ready,
  input logic             write_req_valid,
  input logic [31:0]      write_req_address,
  input logic [15:0]      write_req_beats,
  input logic             write_req_last,
  input logic             word_valid,
  input logic [8*npu_pkg::Lanes-1:0] word,
  input logic             m_axi_arready,
  input logic             m_axi_rvalid,
  input logic [63:0]      m_axi_rdata,
  input logic [1:0]       m_axi_rresp,
  input logic             m_axi_rlast,
  input logic             m_axi_awready,
  input logic             m_axi_wready,
  input logic             m_axi_bvalid,
  input logic [1:0]       m_axi_bresp
);
  logic        frame_start, running, done, fault, resetting, raise_done, raise_fault, stop, clear, core_rst;
  logic [3:0]  fault_code;
  logic [31:0] fault_info, read_error_address, write_error_address, m_axi_araddr, m_axi_awaddr;
  logic [1:0]  read_req_ready, read_valid;
  logic [63:0] read_data, m_axi_wdata;
  logic        read_error, read_error_client, read_idle, read_moved, write_req_ready, word_left, store_done;
  logic        write_error, write_idle, write_moved, acknowledged;
  logic        m_axi_arvalid, m_axi_rready, m_axi_awvalid, m_axi_wvalid, m_axi_wlast, m_axi_bready;
  logic [7:0]  m_axi_arlen, m_axi_awlen;

  always_ff @(posedge clk) core_rst <= rst || clear;

  npu_control u_control (
    .clk, .rst, .start(start && !core_rst), .reset, .forget, .watchdog, .finish,
    .bus_idle(read_idle && write_idle), .progress,
    .read_error, .read_error_command(!read_error_client), .read_error_address, .write_error, .write_error_address,
    .load_illegal(unsound), .load_outside(1'b0), .load_index('0),
    .store_illegal(1'b0), .store_outside(1'b0), .store_index('0), .exec_illegal(1'b0), .exec_index('0),
    .stream_illegal(1'b0), .stream_unit('0), .exec_finished('0),
    .frame_start, .running, .done, .fault, .resetting, .fault_code, .fault_info,
    .raise_done, .raise_fault, .stop, .clear
  );
  npu_axi_read #(.MaxBurst(MaxBurst), .MaxOutstanding(MaxReads)) u_read (
    .clk, .rst(core_rst), .stop, .req_valid(read_req_valid), .req_ready(read_req_ready),
    .req_address(read_req_address), .req_beats(read_req_beats),
    .data_valid(read_valid), .data_ready(read_ready), .data(read_data),
    .error(read_error), .error_client(read_error_client), .error_address(read_error_address),
    .idle(read_idle), .moved(read_moved),
    .m_axi_arvalid, .m_axi_arready, .m_axi_araddr, .m_axi_arlen,
    .m_axi_rvalid, .m_axi_rready, .m_axi_rdata, .m_axi_rresp, .m_axi_rlast
  );
  npu_axi_write #(.Room(Room), .MaxBurst(MaxBurst), .MaxOutstanding(MaxWrites)) u_write (
    .clk, .rst(core_rst), .stop, .req_valid(write_req_valid), .req_ready(write_req_ready),
    .req_address(write_req_address), .req_beats(write_req_beats), .req_last(write_req_last),
    .word_valid, .word, .word_left, .done(store_done), .error(write_error), .error_address(write_error_address),
    .idle(write_idle), .moved(write_moved), .acknowledged,
    .m_axi_awvalid, .m_axi_awready, .m_axi_awaddr, .m_axi_awlen,
    .m_axi_wvalid, .m_axi_wready, .m_axi_wdata, .m_axi_wlast, .m_axi_bvalid, .m_axi_bready, .m_axi_bresp
  );

  // Memory: read bursts that it has not ended; write bursts without an answer of which it has the address, of
  // which it has all beats.
  localparam int unsigned ReadBits = $clog2(MaxReads);
  localparam int unsigned WriteBits = $clog2(MaxWrites);
  logic [ReadBits:0]  reads_q;
  logic [WriteBits:0] addressed_q, written_q;
  // The reset under way is that of the memory too; the core is cleared a cycle later.
  logic forgetting_q, forgotten_q, stop_q;

  // Nothing is owed, nothing on offer; the second cycle of a reset that waits, and later ones.
  logic empty, empty_q, draining_q;
  assign empty = reads_q == '0 && addressed_q == '0 && written_q == '0 && !m_axi_arvalid && !m_axi_awvalid
      && !m_axi_wvalid;

  // The bus in the last cycle.
  logic        early_q = 1'b0;
  logic        begun_q = 1'b0;
  logic        ar_waits_q, aw_waits_q, w_waits_q, w_last_q;
  logic [31:0] araddr_q, awaddr_q;
  logic [7:0]  arlen_q, awlen_q;
  logic [63:0] wdata_q;

  always_ff @(posedge clk) begin
    early_q      <= 1'b1;
    begun_q      <= early_q;
    forgetting_q <= reset && forget;
    forgotten_q  <= forgetting_q;
    empty_q      <= empty;
    draining_q   <= resetting && !clear && stop_q;
    stop_q       <= stop;
    reads_q      <= reads_q + (ReadBits + 1)'(m_axi_arvalid && m_axi_arready)
        - (ReadBits + 1)'(m_axi_rvalid && m_axi_rready && m_axi_rlast);
    addressed_q  <= addressed_q + (WriteBits + 1)'(m_axi_awvalid && m_axi_awready) - (WriteBits + 1)'(acknowledged);
    written_q    <= written_q + (WriteBits + 1)'(m_axi_wvalid && m_axi_wready && m_axi_wlast)
        - (WriteBits + 1)'(acknowledged);
    ar_waits_q   <= m_axi_arvalid && !m_axi_arready;
    aw_waits_q   <= m_axi_awvalid && !m_axi_awready;
    w_waits_q    <= m_axi_wvalid && !m_axi_wready;
    w_last_q     <= m_axi_wlast;
    araddr_q     <= m_axi_araddr;
    awaddr_q     <= m_axi_awaddr;
    arlen_q      <= m_axi_arlen;
    awlen_q      <= m_axi_awlen;
    wdata_q      <= m_axi_wdata;
    if (rst || forgotten_q) begin
      reads_q     <= '0;
      addressed_q <= '0;
      written_q   <= '0;
      ar_waits_q  <= 1'b0;
      aw_waits_q  <= 1'b0;
      w_waits_q   <= 1'b0;
    end
    if (rst) begin
      draining_q   <= 1'b0;
      forgetting_q <= 1'b0;
      forgotten_q  <= 1'b0;
    end
  end

  always_comb begin
    // The engines' own reset comes a cycle later.
    assume (rst == !begun_q);
    // Memory answers what it has been asked, whenever it likes.
    if (reads_q == '0) assume (!m_axi_rvalid);
    if (addressed_q == '0 || written_q == '0) assume (!m_axi_bvalid);
    // Nobody asks but in a frame; its end waits for the bus.
    if (!running) assume (read_req_valid == '0 && !write_req_valid);
    if (finish) assume (read_idle && write_idle && read_req_valid == '0 && !write_req_valid);
    // STORE keeps count of the room.
    if (u_write.u_words.count == ($clog2(Room) + 1)'(Room)) assume (!word_valid);
    if (write_req_valid) assume (write_req_beats != '0);
    for (int c = 0; c < 2; c++) if (read_req_valid[c]) assume (read_req_beats[c] != '0);

    if (begun_q) begin
      // What is offered stays until it is taken, in and after a reset.
      if (ar_waits_q) assert (m_axi_arvalid && m_axi_araddr == araddr_q && m_axi_arlen == arlen_q);
      if (aw_waits_q) assert (m_axi_awvalid && m_axi_awaddr == awaddr_q && m_axi_awlen == awlen_q);
      if (w_waits_q) assert (m_axi_wvalid && m_axi_wdata == wdata_q && m_axi_wlast == w_last_q);
      // Every answer belongs to a burst that the engines know; without a frame it is taken at once.
      if (m_axi_rvalid && !forgotten_q) assert (m_axi_rready == (!running || read_ready[u_read.owner]));
      if (m_axi_bvalid) assert (m_axi_bready);
      // Outside a frame nobody gets anything (who is being cleared does not look).
      if (!running && !core_rst) assert (read_valid == '0 && !store_done);
      // A frame starts on an empty bus.
      if (frame_start) assert (empty);
      // A reset is not over before nothing is owed any more, and then it is over.
      if (clear && !forgetting_q) assert (empty);
      if (draining_q && empty_q) assert (clear);
    end
  end

  // How the registers and the model's belong together: what the induction needs.
  logic at_rest;
  assign at_rest = read_idle && write_idle;
  always_comb begin
    if (begun_q) begin
      assert (forgotten_q ? core_rst : 1'b1);
      assert (forgetting_q ? clear : 1'b1);
      // Where no frame runs and none has failed, nothing is under way, unless it is about to be forgotten.
      if (!running && !fault && !(resetting && !clear) && !forgetting_q && !forgotten_q) assert (at_rest);
      assert (32'(u_read.u_outstanding.count) == 32'(reads_q) + 32'(m_axi_arvalid));
      assert (32'(u_write.u_outstanding.count) == 32'(addressed_q) + 32'(m_axi_awvalid));
      assert (32'(u_write.u_outstanding.count) == 32'(written_q) + 32'(u_write.w_left_q != '0));
      assert (32'(u_read.u_outstanding.count) <= MaxReads && 32'(u_write.u_outstanding.count) <= MaxWrites);
      for (int c = 0; c < 2; c++) begin
        if (u_read.active_q[c]) assert (u_read.left_q[c] != '0);
        if (u_read.known_q[c])
          assert (u_read.active_q[c] && 16'(u_read.burst_q[c]) <= u_read.left_q[c] && u_read.burst_q[c] != '0);
      end
      if (u_write.active_q) assert (u_write.left_q != '0);
      if (u_write.known_q)
        assert (u_write.active_q && u_write.burst != '0 && 16'(u_write.burst) <= u_write.left_q);
      // The beats of the burst under way lie in the buffer.
      assert (u_write.beats_q >= 7'(u_write.w_left_q));
      assert (32'(u_write.u_words.count) <= Room);
      assert (8'(u_write.beats_q) + 8'(u_write.odd_q) == 8'({u_write.u_words.count, 1'b0}));
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (clear && !forgetting_q && resetting && m_axi_bresp == 2'b10 && read_error_client);
      cover (resetting && m_axi_rvalid && m_axi_rready && m_axi_rlast && reads_q == 2);
      cover (resetting && m_axi_wvalid && m_axi_wready && !m_axi_wlast && aw_waits_q);
      cover (forgotten_q && ar_waits_q);
      cover (frame_start && fault_code == '0 && awlen_q != '0);
    end
  end
endmodule
