// The accelerator: control, command stream, transfers, array. AXI4 master for data and commands,
// AXI4-Lite slave for control, one interrupt.
module npu_top (
  input  logic         clk,
  input  logic         rst,
  // AXI4-Lite control
  input  logic         s_axi_awvalid,
  output logic         s_axi_awready,
  input  logic [7:0]   s_axi_awaddr,
  input  logic         s_axi_wvalid,
  output logic         s_axi_wready,
  input  logic [31:0]  s_axi_wdata,
  input  logic [3:0]   s_axi_wstrb,
  output logic         s_axi_bvalid,
  input  logic         s_axi_bready,
  output logic [1:0]   s_axi_bresp,
  input  logic         s_axi_arvalid,
  output logic         s_axi_arready,
  input  logic [7:0]   s_axi_araddr,
  output logic         s_axi_rvalid,
  input  logic         s_axi_rready,
  output logic [31:0]  s_axi_rdata,
  output logic [1:0]   s_axi_rresp,
  // AXI4 data and commands
  output logic         m_axi_arvalid,
  input  logic         m_axi_arready,
  output logic [31:0]  m_axi_araddr,
  output logic [7:0]   m_axi_arlen,
  output logic [2:0]   m_axi_arsize,
  output logic [1:0]   m_axi_arburst,
  input  logic         m_axi_rvalid,
  output logic         m_axi_rready,
  input  logic [8*npu_pkg::AxiBytes-1:0] m_axi_rdata,
  input  logic [1:0]   m_axi_rresp,
  input  logic         m_axi_rlast,
  output logic         m_axi_awvalid,
  input  logic         m_axi_awready,
  output logic [31:0]  m_axi_awaddr,
  output logic [7:0]   m_axi_awlen,
  output logic [2:0]   m_axi_awsize,
  output logic [1:0]   m_axi_awburst,
  output logic         m_axi_wvalid,
  input  logic         m_axi_wready,
  output logic [8*npu_pkg::AxiBytes-1:0] m_axi_wdata,
  output logic [npu_pkg::AxiBytes-1:0] m_axi_wstrb,
  output logic         m_axi_wlast,
  input  logic         m_axi_bvalid,
  output logic         m_axi_bready,
  input  logic [1:0]   m_axi_bresp,
  output logic         irq,
  // For logic analysers: a command of LOAD, EXEC, STORE was taken; was finished.
  output logic [2:0]   event_taken,
  output logic [2:0]   event_finished
);
  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;
  localparam int unsigned StoreRoom = 32;
  localparam int unsigned ReadBursts = 16;

  if (npu_pkg::Lanes != 8 && npu_pkg::Lanes != 16) begin : g_lanes
    $error("a map word is one or two beats");
  end
  if (npu_pkg::Rows != 4 && npu_pkg::Rows != 8 && npu_pkg::Rows != 16) begin : g_rows
    $error("a weight word has 4, 8 or 16 bytes");
  end

  // Registers and state.
  logic              start, start_q, reset, forget, frame_start, running, done, fault, resetting, stop, clear, core_rst;
  logic              raise_done, raise_fault;
  logic [31:0]       watchdog, stream_address, fault_info;
  logic [26:0]       stream_units;
  logic [1:0][31:0]  region_base, region_bytes;
  logic [3:0]        fault_code;
  logic [12:0][31:0] counters /* verilator public_flat_rd */;

  // Registers, since it drives nearly everything. What software starts waits for them.
  logic [3:0] unit_rst;  // command fetch, LOAD, STORE, array
  always_ff @(posedge clk) begin
    core_rst <= rst || clear;
    start_q  <= start;
  end
  for (genvar i = 0; i < 4; i++) begin : g_rst
    npu_replica u_rst (.clk, .in(rst || clear), .out(unit_rst[i]));
  end

  npu_csr u_csr (
    .clk, .rst,
    .s_axi_awvalid, .s_axi_awready, .s_axi_awaddr, .s_axi_wvalid, .s_axi_wready, .s_axi_wdata, .s_axi_wstrb,
    .s_axi_bvalid, .s_axi_bready, .s_axi_bresp, .s_axi_arvalid, .s_axi_arready, .s_axi_araddr,
    .s_axi_rvalid, .s_axi_rready, .s_axi_rdata, .s_axi_rresp,
    .start, .reset, .forget, .watchdog, .stream_address, .stream_units, .region_base, .region_bytes,
    .busy(running), .frame_done(done), .fault, .resetting, .fault_code, .fault_info,
    .raise_done, .raise_fault, .counters, .irq
  );

  // Bus engines.
  logic [1:0]       read_req_valid, read_req_ready, read_valid, read_ready;
  logic [1:0][31:0] read_req_address;
  logic [1:0][15:0] read_req_beats;
  logic [63:0]      read_data;
  logic             read_error, read_error_client, read_idle, read_moved, load_ready_q;
  logic [31:0]      read_error_address;

  // The engines' side of the data bus.
  logic        arvalid, arready, rvalid, rready, rlast, awvalid, awready, wvalid, wready, wlast;
  logic [31:0] araddr, awaddr;
  logic [7:0]  arlen, awlen;
  logic [63:0] rdata, wdata;
  logic [1:0]  rresp;

  npu_axi_read #(.MaxOutstanding(ReadBursts)) u_axi_read (
    .clk, .rst(core_rst), .stop,
    .req_valid(read_req_valid), .req_ready(read_req_ready),
    .req_address(read_req_address), .req_beats(read_req_beats),
    .data_valid(read_valid), .data_ready(read_ready), .data(read_data),
    .error(read_error), .error_client(read_error_client), .error_address(read_error_address),
    .idle(read_idle), .moved(read_moved),
    .m_axi_arvalid(arvalid), .m_axi_arready(arready), .m_axi_araddr(araddr), .m_axi_arlen(arlen),
    .m_axi_rvalid(rvalid), .m_axi_rready(rready), .m_axi_rdata(rdata), .m_axi_rresp(rresp), .m_axi_rlast(rlast)
  );

  logic         write_req_valid, write_req_ready, write_req_last, word_left, store_done;
  logic [31:0]  write_req_address, write_error_address;
  logic [15:0]  write_req_beats;
  logic         st_rvalid, write_error, write_idle, write_moved, write_acknowledged;
  logic [8*npu_pkg::Lanes-1:0] st_rdata;

  npu_axi_write #(.Room(StoreRoom)) u_axi_write (
    .clk, .rst(core_rst), .stop,
    .req_valid(write_req_valid), .req_ready(write_req_ready),
    .req_address(write_req_address), .req_beats(write_req_beats), .req_last(write_req_last),
    .word_valid(st_rvalid), .word(st_rdata), .word_left,
    .done(store_done), .error(write_error), .error_address(write_error_address),
    .idle(write_idle), .moved(write_moved), .acknowledged(write_acknowledged),
    .m_axi_awvalid(awvalid), .m_axi_awready(awready), .m_axi_awaddr(awaddr), .m_axi_awlen(awlen),
    .m_axi_wvalid(wvalid), .m_axi_wready(wready), .m_axi_wdata(wdata), .m_axi_wlast(wlast),
    .m_axi_bvalid, .m_axi_bready, .m_axi_bresp
  );

  npu_axi_width #(.MaxReads(ReadBursts)) u_axi_width (
    .clk, .rst(core_rst),
    .s_axi_arvalid(arvalid), .s_axi_arready(arready), .s_axi_araddr(araddr), .s_axi_arlen(arlen),
    .s_axi_rvalid(rvalid), .s_axi_rready(rready), .s_axi_rdata(rdata), .s_axi_rresp(rresp), .s_axi_rlast(rlast),
    .s_axi_awvalid(awvalid), .s_axi_awready(awready), .s_axi_awaddr(awaddr), .s_axi_awlen(awlen),
    .s_axi_wvalid(wvalid), .s_axi_wready(wready), .s_axi_wdata(wdata), .s_axi_wlast(wlast),
    .m_axi_arvalid, .m_axi_arready, .m_axi_araddr, .m_axi_arlen, .m_axi_arsize,
    .m_axi_rvalid, .m_axi_rready, .m_axi_rdata, .m_axi_rresp, .m_axi_rlast,
    .m_axi_awvalid, .m_axi_awready, .m_axi_awaddr, .m_axi_awlen, .m_axi_awsize,
    .m_axi_wvalid, .m_axi_wready, .m_axi_wdata, .m_axi_wstrb, .m_axi_wlast
  );
  assign m_axi_arburst = 2'b01;
  assign m_axi_awburst = 2'b01;

  // Command stream and queues: LOAD, EXEC, STORE.
  logic [2:0]       push_valid, push_ready, queue_empty, head_valid, head_pop, finished;
  logic [63:0]      push_data;
  logic [2:0][15:0] taken_q, finished_q;
  logic [2:0][2:0]  head_waits;
  logic [2:0]       beat_valid, beat_target;
  logic             beat_room, beat_waits;
  logic [63:0]      beat;
  logic             exhausted, fetch_illegal;
  logic [26:0]      unit;

  npu_fetch u_fetch (
    .clk, .rst(unit_rst[0]), .start(frame_start), .stop,
    .stream_address, .stream_units,
    .req_valid(read_req_valid[0]), .req_ready(read_req_ready[0]),
    .req_address(read_req_address[0]), .req_beats(read_req_beats[0]),
    .data_valid(read_valid[0]), .data(read_data),
    .push_valid(beat_valid), .push_ready({3{beat_room}}), .push_data(beat),
    .exhausted, .illegal(fetch_illegal), .unit
  );
  // The queues stand far from each other: a beat and whose it is wait for them here.
  npu_fifo #(.Width(67), .Depth(2)) u_beats (
    .clk, .rst(unit_rst[0]),
    .push_valid(beat_valid != '0), .push_ready(beat_room), .push_data({beat_valid, beat}),
    .pop_valid(beat_waits), .pop_ready((beat_target & push_ready) != '0), .pop_data({beat_target, push_data}),
    .count()
  );
  assign push_valid = beat_target & {3{beat_waits}};
  assign read_ready = {load_ready_q, 1'b1};

  npu_pkg::transfer_t load_cmd, store_cmd;
  npu_pkg::exec_t     exec_cmd;

  npu_queue #(.Beats(npu_pkg::TransferBits / 64), .Depth(64)) u_load_queue (
    .clk, .rst(unit_rst[1]),
    .push_valid(push_valid[0]), .push_ready(push_ready[0]), .push_data,
    .finished(finished_q), .empty(queue_empty[0]),
    .head_valid(head_valid[0]), .head(load_cmd), .head_waits(head_waits[0]), .pop(head_pop[0])
  );
  npu_queue #(.Beats(npu_pkg::ExecBits / 64), .Depth(64)) u_exec_queue (
    .clk, .rst(unit_rst[3]),
    .push_valid(push_valid[1]), .push_ready(push_ready[1]), .push_data,
    .finished(finished_q), .empty(queue_empty[1]),
    .head_valid(head_valid[1]), .head(exec_cmd), .head_waits(head_waits[1]), .pop(head_pop[1])
  );
  npu_queue #(.Beats(npu_pkg::TransferBits / 64), .Depth(32)) u_store_queue (
    .clk, .rst(unit_rst[2]),
    .push_valid(push_valid[2]), .push_ready(push_ready[2]), .push_data,
    .finished(finished_q), .empty(queue_empty[2]),
    .head_valid(head_valid[2]), .head(store_cmd), .head_waits(head_waits[2]), .pop(head_pop[2])
  );

  // Commands taken from, and finished of, each queue in this frame.
  for (genvar i = 0; i < 3; i++) begin : g_count
    always_ff @(posedge clk) begin
      if (core_rst || frame_start) begin
        taken_q[i]    <= '0;
        finished_q[i] <= '0;
      end else begin
        if (head_pop[i]) taken_q[i] <= taken_q[i] + 1'b1;
        if (finished[i]) finished_q[i] <= finished_q[i] + 1'b1;
      end
    end
  end
  assign event_taken    = head_pop;
  assign event_finished = finished;

  // Transfers.
  logic                              ld_valid, ld_ready, lw_valid, lp_valid, lt_valid, lt_select;
  logic [npu_pkg::RowBits-1:0]       ld_bank, st_bank;
  logic [AddrBits-1:0]               ld_addr, st_addr;
  logic [8*npu_pkg::Lanes-1:0]       ld_data;
  logic [npu_pkg::Lanes-1:0]         ld_be;
  logic [npu_pkg::WeightAddrBits-1:0] lw_addr;
  logic [8*npu_pkg::Rows+7:0]        lw_data;
  logic [npu_pkg::ParamAddrBits-1:0] lp_addr;
  logic [127:0]                      lp_data;
  logic [4:0]                        lt_addr;
  logic [63:0]                       lt_data;
  logic                              st_valid, st_ready, word_valid, word_ready;
  logic [npu_pkg::RowBits-1:0]       word_bank;
  logic [AddrBits-1:0]               word_addr;
  logic load_illegal, load_outside, load_idle, load_done, store_illegal, store_outside, store_idle;

  // The bus's handshake ends here; the loader's begins. Both sides of the bus's are registers: of what is taken
  // three beats may not have been counted yet.
  logic        load_beat_valid, load_beat_ready, load_push_q;
  logic [63:0] load_beat, load_data_q;
  logic [3:0]  load_waiting;
  always_ff @(posedge clk) begin
    load_push_q   <= read_valid[1] && load_ready_q && !core_rst;
    load_data_q   <= read_data;
    load_ready_q  <= load_waiting < 4'd4 && !core_rst;
  end
  npu_fifo #(.Width(64), .Depth(8)) u_load_beats (
    .clk, .rst(core_rst),
    .push_valid(load_push_q), .push_ready(), .push_data(load_data_q),
    .pop_valid(load_beat_valid), .pop_ready(load_beat_ready), .pop_data(load_beat),
    .count(load_waiting)
  );

  npu_load u_load (
    .clk, .rst(unit_rst[1]), .stop,
    .cmd_valid(head_valid[0]), .cmd(load_cmd), .cmd_waits(|head_waits[0]), .cmd_pop(head_pop[0]),
    .region_base, .region_bytes,
    .illegal(load_illegal), .outside(load_outside), .done(load_done), .idle(load_idle),
    .req_valid(read_req_valid[1]), .req_ready(read_req_ready[1]),
    .req_address(read_req_address[1]), .req_beats(read_req_beats[1]),
    .data_valid(load_beat_valid), .data_ready(load_beat_ready), .data(load_beat),
    .ld_valid, .ld_ready, .ld_bank, .ld_addr, .ld_data, .ld_be,
    .lw_valid, .lw_addr, .lw_data, .lp_valid, .lp_addr, .lp_data,
    .lt_valid, .lt_select, .lt_addr, .lt_data
  );

  npu_store #(.Room(StoreRoom)) u_store (
    .clk, .rst(unit_rst[2]), .stop,
    .cmd_valid(head_valid[2]), .cmd(store_cmd), .cmd_waits(|head_waits[2]), .cmd_pop(head_pop[2]),
    .region_base(region_base[1]), .region_bytes(region_bytes[1]),
    .illegal(store_illegal), .outside(store_outside), .idle(store_idle),
    .req_valid(write_req_valid), .req_ready(write_req_ready),
    .req_address(write_req_address), .req_beats(write_req_beats), .req_last(write_req_last),
    .word_left, .st_valid(word_valid), .st_ready(word_ready), .st_bank(word_bank), .st_addr(word_addr)
  );

  // Who may use the banks is decided too late for the walk over the map's words.
  npu_fifo #(.Width(npu_pkg::RowBits + AddrBits), .Depth(2)) u_store_words (
    .clk, .rst(unit_rst[2]),
    .push_valid(word_valid), .push_ready(word_ready), .push_data({word_bank, word_addr}),
    .pop_valid(st_valid), .pop_ready(st_ready), .pop_data({st_bank, st_addr}),
    .count()
  );

  // Array. END is the one command of its queue that it does not see.
  logic is_end_q, exec_valid, exec_ready, exec_done, exec_illegal, exec_idle;
  logic busy_mac, stall_drain, stall_residual;
  logic [10:0] skipped;

  // The opcode comes with the first beat, long before a command is whole.
  always_ff @(posedge clk) is_end_q <= exec_cmd.opcode == npu_pkg::OpEnd;
  assign exec_valid = running && head_valid[1] && !is_end_q && head_waits[1] == '0;

  npu_exec u_exec (
    .clk, .rst(unit_rst[3]),
    .cmd_valid(exec_valid), .cmd_ready(exec_ready), .cmd(exec_cmd),
    .done(exec_done), .illegal(exec_illegal),
    .ld_valid, .ld_ready, .ld_bank, .ld_addr, .ld_data, .ld_be,
    .st_valid, .st_ready, .st_bank, .st_addr, .st_rvalid, .st_rdata,
    .lw_valid, .lw_addr, .lw_data, .lp_valid, .lp_addr, .lp_data,
    .lt_valid, .lt_select, .lt_addr, .lt_data,
    .busy_mac, .skipped, .stall_drain, .stall_residual, .idle(exec_idle)
  );

  // The frame's end, or the stream's without END.
  logic finish, drained, broken;
  assign drained = queue_empty[0] && queue_empty[2] && load_idle && store_idle && exec_idle;
  always_ff @(posedge clk) begin
    finish <= running && head_valid[1] && is_end_q && head_waits[1] == '0 && drained && read_idle
        && write_idle && !finish && !core_rst;
    broken <= exhausted && queue_empty[1] && drained && !core_rst;
  end
  assign head_pop[1] = (exec_valid && exec_ready) || finish;
  assign finished    = {store_done, exec_done || finish, load_done};

  // What can go wrong, and that something moves, is told a cycle late, since it comes from everywhere.
  typedef struct packed {
    logic        read, read_command, write, load_illegal, load_outside, store_illegal, store_outside;
    logic        exec_illegal, stream_illegal;
    logic [31:0] read_address, write_address;
    logic [15:0] load_index, store_index, exec_index;
    logic [26:0] stream_unit;
  } faults_t;
  faults_t faults_q;
  logic    progress;
  always_ff @(posedge clk) begin
    progress <= read_moved || write_moved || write_acknowledged || busy_mac || exec_done || load_done;
    faults_q <= '{
      read: read_error, read_command: !read_error_client, read_address: read_error_address,
      write: write_error, write_address: write_error_address,
      load_illegal: load_illegal, load_outside: load_outside, load_index: taken_q[0],
      store_illegal: store_illegal, store_outside: store_outside, store_index: taken_q[2],
      exec_illegal: exec_illegal, exec_index: taken_q[1] - 16'd1,
      stream_illegal: fetch_illegal || broken, stream_unit: unit
    };
    if (core_rst) faults_q <= '0;
  end

  npu_control u_control (
    .clk, .rst, .start(start_q && !core_rst), .reset, .forget, .watchdog, .finish,
    .bus_idle(read_idle && write_idle),
    .progress,
    .read_error(faults_q.read), .read_error_command(faults_q.read_command),
    .read_error_address(faults_q.read_address),
    .write_error(faults_q.write), .write_error_address(faults_q.write_address),
    .load_illegal(faults_q.load_illegal), .load_outside(faults_q.load_outside),
    .load_index(faults_q.load_index),
    .store_illegal(faults_q.store_illegal), .store_outside(faults_q.store_outside),
    .store_index(faults_q.store_index),
    .exec_illegal(faults_q.exec_illegal), .exec_index(faults_q.exec_index),
    .stream_illegal(faults_q.stream_illegal), .stream_unit(faults_q.stream_unit),
    .exec_finished(finished_q[1]),
    .frame_start, .running, .done, .fault, .resetting, .fault_code, .fault_info,
    .raise_done, .raise_fault, .stop, .clear
  );

  // Why the array has nothing to do.
  logic starved;
  assign starved = running && exec_idle;
  npu_counters u_counters (
    .clk, .rst(core_rst), .frame_start, .running,
    .mac(busy_mac), .skipped,
    .stall_load(starved && head_valid[1] && head_waits[1][0]),
    .stall_store(starved && head_valid[1] && !head_waits[1][0] && head_waits[1][2]),
    .stall_drain, .stall_residual,
    .stall_command(starved && !head_valid[1]),
    .beat_read(read_moved), .beat_written(write_moved),
    .finished, .counters
  );
endmodule
