// npu_dram_bridge: every beat is answered once, in order, with its own data; outside the memory it
// is an error and the memory hears nothing.
//
// One address that never changes is watched: what is read and written there is 1, elsewhere 0, so data
// of a wrong address are noticed for every address. The memory takes commands when it likes, hands out and takes data when it likes after
// its command, in order, and cannot be told to wait. Bursts are whole inside or outside.
module prove_dram_bridge #(
  parameter int unsigned Room     = 4,
  parameter int unsigned Bursts   = 2,
  // Which directions have bursts.
  parameter bit          Reads    = 1'b1,
  parameter bit          Writes   = 1'b1,
  // Cycles in which everybody is ready, after which nothing may be left.
  parameter int unsigned Patience = 9
) (
  input logic       clk_i,
  input logic       rst_ni,
  input logic       s_axi_arvalid_i,
  input logic [6:0] read_addr_i,
  input logic [1:0] read_len_i,
  input logic       s_axi_rready_i,
  input logic       s_axi_awvalid_i,
  input logic [6:0] write_addr_i,
  input logic [1:0] write_len_i,
  input logic       s_axi_wvalid_i,
  input logic       s_axi_bready_i,
  input logic       cmd_ready_i,
  input logic       wdata_ready_i,
  input logic       rdata_valid_i,
  // The address that is watched, from the memory's first; it never changes.
  input logic [4:0] watched_i
);
  localparam logic [31:0] Base = 32'h40;
  localparam logic [31:0] Size = 32'h20;
  // Most bursts of a direction that are followed, and beats of each after the first.
  localparam int unsigned Open = 2;
  localparam logic [1:0] MaxLen = 2'd1;

  function automatic logic mapped(input logic [6:0] addr);
    return 32'(addr) >= Base && 32'(addr) < Base + Size;
  endfunction
  // A burst whole inside or outside.
  function automatic logic fair(input logic [6:0] addr, input logic [1:0] len);
    return len <= MaxLen && addr < 7'h7c && mapped(addr) == mapped(addr + 7'(len));
  endfunction
  function automatic logic is_watched(input logic [6:0] addr);
    return mapped(addr) && addr[4:0] == watched_i;
  endfunction

  // What the memory's commands are about, oldest first: whether the watched address.
  logic [7:0] read_at_q, write_at_q;
  logic s_axi_arready, s_axi_rvalid, s_axi_rlast, s_axi_awready, s_axi_wready, s_axi_bvalid;
  logic [7:0] s_axi_rdata, wdata;
  logic s_axi_wlast;
  logic [1:0] r_count_q, w_count_q;
  logic [6:0] r_at, w_at;
  logic [1:0] s_axi_rresp, s_axi_bresp;
  logic cmd_valid, cmd_we, wdata_we;
  logic [31:0] cmd_addr;

  npu_dram_bridge #(
    .Bytes (1),
    .Base  (Base),
    .Size  (Size),
    .Room  (Room),
    .Bursts(Bursts),
    .Streak(2)
  ) u_bridge (
    .clk_i,
    .rst_ni,
    .s_axi_arvalid_i,
    .s_axi_arready_o(s_axi_arready),
    .s_axi_araddr_i (32'(read_addr_i)),
    .s_axi_arlen_i  (8'(read_len_i)),
    .s_axi_rvalid_o (s_axi_rvalid),
    .s_axi_rready_i,
    .s_axi_rdata_o  (s_axi_rdata),
    .s_axi_rresp_o  (s_axi_rresp),
    .s_axi_rlast_o  (s_axi_rlast),
    .s_axi_awvalid_i,
    .s_axi_awready_o(s_axi_awready),
    .s_axi_awaddr_i (32'(write_addr_i)),
    .s_axi_awlen_i  (8'(write_len_i)),
    .s_axi_wvalid_i,
    .s_axi_wready_o (s_axi_wready),
    .s_axi_wdata_i  (8'(is_watched(w_at))),
    .s_axi_wstrb_i  (is_watched(w_at)),
    .s_axi_wlast_i  (s_axi_wlast),
    .s_axi_bvalid_o (s_axi_bvalid),
    .s_axi_bready_i,
    .s_axi_bresp_o  (s_axi_bresp),
    .cmd_valid_o    (cmd_valid),
    .cmd_ready_i,
    .cmd_we_o       (cmd_we),
    .cmd_addr_o     (cmd_addr),
    .wdata_ready_i,
    .wdata_o        (wdata),
    .wdata_we_o     (wdata_we),
    .rdata_valid_i,
    .rdata_i        (8'(read_at_q[0]))
  );

  logic begun_q = 1'b0;
  logic read_cmd, write_cmd, r_beat, w_beat, b_beat, ar_beat, aw_beat;
  assign read_cmd = cmd_valid && cmd_ready_i && !cmd_we;
  assign write_cmd = cmd_valid && cmd_ready_i && cmd_we;
  assign ar_beat = s_axi_arvalid_i && s_axi_arready;
  assign r_beat = s_axi_rvalid && s_axi_rready_i;
  assign aw_beat = s_axi_awvalid_i && s_axi_awready;
  assign w_beat = s_axi_wvalid_i && s_axi_wready;
  assign b_beat = s_axi_bvalid && s_axi_bready_i;

  // The memory: commands whose data are still to move, oldest first.
  logic [3:0] reads_q, writes_q;

  // Bursts: reads without all of their beats; writes without all of their data; writes without an
  // answer.
  logic [2:0] ar_open_q, aw_open_q, b_open_q;
  logic [3:0][6:0] ar_at_q, aw_at_q, b_at_q;
  logic [3:0][1:0] ar_len_q, aw_len_q, b_len_q;
  assign r_at = ar_at_q[0] + 7'(r_count_q);
  assign w_at = aw_at_q[0] + 7'(w_count_q);
  assign s_axi_wlast = w_count_q == aw_len_q[0];

  // Beats of writes that the memory has and that were not answered.
  logic [5:0] taken_q;

  logic [4:0] watched_q;
  logic [31:0] cmd_q;
  logic cmd_waits_q, cmd_we_q, r_waits_q, b_waits_q;
  logic [7:0] rdata_q;
  logic [4:0] calm_q;
  logic calm, left;
  assign left = ar_open_q != '0 || b_open_q != '0;
  assign calm = cmd_ready_i && s_axi_rready_i && s_axi_bready_i && !ar_beat && !aw_beat && !w_beat
             && aw_open_q == '0 && (rdata_valid_i || reads_q == '0)
             && (wdata_ready_i || writes_q == '0);

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    watched_q <= watched_i;
    cmd_q <= cmd_addr;
    cmd_we_q <= cmd_we;
    cmd_waits_q <= cmd_valid && !cmd_ready_i;
    r_waits_q <= s_axi_rvalid && !s_axi_rready_i;
    b_waits_q <= s_axi_bvalid && !s_axi_bready_i;
    rdata_q <= s_axi_rdata;
    calm_q <= calm ? calm_q + 5'(calm_q != '1) : '0;

    // The memory.
    if (rdata_valid_i) for (int i = 0; i < 7; i++) read_at_q[i] <= read_at_q[i+1];
    if (read_cmd) read_at_q[3'(reads_q-4'(rdata_valid_i))] <= cmd_addr == 32'(watched_i);
    reads_q <= reads_q + 4'(read_cmd) - 4'(rdata_valid_i);
    if (wdata_ready_i) for (int i = 0; i < 7; i++) write_at_q[i] <= write_at_q[i+1];
    if (write_cmd) write_at_q[3'(writes_q-4'(wdata_ready_i))] <= cmd_addr == 32'(watched_i);
    writes_q <= writes_q + 4'(write_cmd) - 4'(wdata_ready_i);

    // Reads.
    if (r_beat) r_count_q <= s_axi_rlast ? '0 : r_count_q + 1'b1;
    if (r_beat && s_axi_rlast) begin
      for (int i = 0; i < 3; i++) begin
        ar_at_q[i] <= ar_at_q[i+1];
        ar_len_q[i] <= ar_len_q[i+1];
      end
    end
    if (ar_beat) begin
      ar_at_q[2'(ar_open_q-3'(r_beat&&s_axi_rlast))] <= read_addr_i;
      ar_len_q[2'(ar_open_q-3'(r_beat&&s_axi_rlast))] <= read_len_i;
    end
    ar_open_q <= ar_open_q + 3'(ar_beat) - 3'(r_beat && s_axi_rlast);

    // Data of writes.
    if (w_beat) w_count_q <= s_axi_wlast ? '0 : w_count_q + 1'b1;
    if (w_beat && s_axi_wlast) begin
      for (int i = 0; i < 3; i++) begin
        aw_at_q[i] <= aw_at_q[i+1];
        aw_len_q[i] <= aw_len_q[i+1];
      end
    end
    if (aw_beat) begin
      aw_at_q[2'(aw_open_q-3'(w_beat&&s_axi_wlast))] <= write_addr_i;
      aw_len_q[2'(aw_open_q-3'(w_beat&&s_axi_wlast))] <= write_len_i;
    end
    aw_open_q <= aw_open_q + 3'(aw_beat) - 3'(w_beat && s_axi_wlast);

    // Answers of writes.
    if (b_beat) begin
      for (int i = 0; i < 3; i++) begin
        b_at_q[i] <= b_at_q[i+1];
        b_len_q[i] <= b_len_q[i+1];
      end
    end
    if (aw_beat) begin
      b_at_q[2'(b_open_q-3'(b_beat))] <= write_addr_i;
      b_len_q[2'(b_open_q-3'(b_beat))] <= write_len_i;
    end
    b_open_q <= b_open_q + 3'(aw_beat) - 3'(b_beat);
    // Beats that the memory has, less those of bursts that were answered.
    taken_q <= taken_q + 6'(wdata_ready_i) - (b_beat && mapped(
        b_at_q[0]
    ) ? 6'(b_len_q[0]) + 6'd1 : '0);

    if (!rst_ni) begin
      cmd_waits_q <= 1'b0;
      r_waits_q <= 1'b0;
      b_waits_q <= 1'b0;
      calm_q <= '0;
      reads_q <= '0;
      writes_q <= '0;
      ar_open_q <= '0;
      aw_open_q <= '0;
      b_open_q <= '0;
      r_count_q <= '0;
      w_count_q <= '0;
      taken_q <= '0;
    end
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (begun_q) assume (rst_ni);
    // The manager: fair bursts, as many as are followed, data after their address.
    assume (fair(read_addr_i, read_len_i));
    assume (fair(write_addr_i, write_len_i));
    if (!Reads) assume (!s_axi_arvalid_i);
    if (!Writes) assume (!s_axi_awvalid_i);
    if (ar_open_q == 3'(Open)) assume (!s_axi_arvalid_i);
    if (b_open_q == 3'(Open)) assume (!s_axi_awvalid_i);
    if (aw_open_q == '0) assume (!s_axi_wvalid_i);
    // The memory: data of commands alone, in their order.
    if (reads_q == '0) assume (!rdata_valid_i);
    if (writes_q == '0) assume (!wdata_ready_i);
    if (begun_q) assume (watched_i == watched_q);

    if (begun_q && rst_ni) begin
      // Commands stay until they are taken, and stay inside the memory.
      if (cmd_waits_q) assert (cmd_valid && cmd_addr == cmd_q && cmd_we == cmd_we_q);
      if (cmd_valid) assert (cmd_addr < Size);
      // Data wait for their reader.
      if (r_waits_q) assert (s_axi_rvalid && (s_axi_rresp != 2'b00 || s_axi_rdata == rdata_q));
      if (b_waits_q) assert (s_axi_bvalid);
      // Beats of reads: asked for, in order, of their address, the last one marked.
      if (s_axi_rvalid) begin
        assert (ar_open_q != '0);
        assert (s_axi_rlast == (r_count_q == ar_len_q[0]));
        assert (s_axi_rresp == (mapped(r_at) ? 2'b00 : 2'b11));
        if (mapped(r_at)) assert (s_axi_rdata == 8'(is_watched(r_at)));
      end
      // What the memory takes is what was sent for the address.
      if (wdata_ready_i) begin
        assert (wdata == 8'(write_at_q[0]));
        assert (wdata_we == write_at_q[0]);
      end
      // A write is answered when the memory has all of it.
      if (s_axi_bvalid) begin
        assert (b_open_q != '0);
        assert (b_open_q > aw_open_q);
        assert (s_axi_bresp == (mapped(b_at_q[0]) ? 2'b00 : 2'b11));
        if (mapped(b_at_q[0])) assert (taken_q > 6'(b_len_q[0]));
      end
      // Nothing is lost: where everybody is ready, all is answered soon.
      if (calm_q >= 5'(Patience)) assert (!left);

      cover (s_axi_rvalid && s_axi_rresp == 2'b11);
      cover (s_axi_bvalid && s_axi_bresp == 2'b11);
      cover (s_axi_rvalid && s_axi_rlast && mapped(r_at) && ar_len_q[0] == MaxLen);
      cover (s_axi_bvalid && mapped(b_at_q[0]) && b_len_q[0] == MaxLen);
      cover (reads_q == 4'(Room));
      cover (calm_q == 5'(Patience));
    end
  end
endmodule
