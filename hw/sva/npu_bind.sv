// Binds the checkers to every buffer and every valid/ready interface of hw/rtl.

// Buffers with flags: all instances.
bind npu_fifo npu_fifo_sva #(
  .Width(Width),
  .Depth(Depth)
) u_fifo_sva (
  .clk_i,
  .rst_ni,
  .push_valid_i,
  .push_ready_i(push_ready_o),
  .pop_valid_i (pop_valid_o),
  .pop_ready_i,
  .pop_data_i  (pop_data_o),
  .count_i     (count_o)
);

// Buffers whose sender counts the free entries.
bind npu_axi_write npu_level_sva #(
  .Depth(Room)
) u_words_sva (
  .clk_i,
  .rst_ni,
  .push_i(word_valid_i),
  .pop_i (word_popped_o)
);
bind npu_axi_width npu_level_sva #(
  .Depth(MaxReads)
) u_reads_sva (
  .clk_i,
  .rst_ni,
  .push_i(s_axi_arvalid_i && s_axi_arready_o),
  .pop_i (s_axi_rvalid_o && s_axi_rready_i && s_axi_rlast_o)
);
bind npu_queue npu_level_sva #(
  .Depth(Depth)
) u_beats_sva (
  .clk_i,
  .rst_ni,
  .push_i(push_valid_i && push_ready_o),
  .pop_i (stored_valid && shift)
);
bind npu_fetch npu_level_sva #(
  .Depth(Depth)
) u_ahead_sva (
  .clk_i,
  .rst_ni(rst_ni && !start_i),
  .push_i(data_valid_i),
  .pop_i (ahead_valid && shift)
);
bind npu_top npu_level_sva #(
  .Depth(8)
) u_load_beats_sva (
  .clk_i,
  .rst_ni(core_rst_nq),
  .push_i(load_push_q),
  .pop_i (load_beat_valid && load_beat_ready)
);
bind npu_skip_list npu_level_sva #(
  .Depth(8)
) u_entries_sva (
  .clk_i,
  .rst_ni,
  .push_i(arrived_q.valid),
  .pop_i
);
bind npu_eltwise_fetch npu_level_sva #(
  .Depth(npu_core_pkg::EltwiseDepth)
) u_entries_sva (
  .clk_i,
  .rst_ni,
  .push_i(rvalid_i),
  .pop_i
);
bind npu_eltwise_fetch npu_level_sva #(
  .Depth(8)
) u_requests_sva (
  .clk_i,
  .rst_ni,
  .push_i(issue),
  .pop_i (grant_i)
);

// AXI4 at the pins. Only a reset that includes the memory withdraws an offer: it clears the engines.
bind npu_top npu_handshake_sva #(
  .Width(32 + 8 + 3 + 2)
) u_ar_sva (
  .clk_i,
  .rst_ni    (rst_ni && core_rst_nq),
  .withdraw_i(1'b0),
  .valid_i   (m_axi_arvalid_o),
  .ready_i   (m_axi_arready_i),
  .payload_i ({m_axi_araddr_o, m_axi_arlen_o, m_axi_arsize_o, m_axi_arburst_o})
);
bind npu_top npu_handshake_sva #(
  .Width(32 + 8 + 3 + 2)
) u_aw_sva (
  .clk_i,
  .rst_ni    (rst_ni && core_rst_nq),
  .withdraw_i(1'b0),
  .valid_i   (m_axi_awvalid_o),
  .ready_i   (m_axi_awready_i),
  .payload_i ({m_axi_awaddr_o, m_axi_awlen_o, m_axi_awsize_o, m_axi_awburst_o})
);
bind npu_top npu_handshake_sva #(
  .Width(9 * npu_pkg::AxiBytes + 1)
) u_w_sva (
  .clk_i,
  .rst_ni    (rst_ni && core_rst_nq),
  .withdraw_i(1'b0),
  .valid_i   (m_axi_wvalid_o),
  .ready_i   (m_axi_wready_i),
  .payload_i ({m_axi_wdata_o, m_axi_wstrb_o, m_axi_wlast_o})
);

// AXI4-Lite answers.
bind npu_csr npu_handshake_sva #(
  .Width(2)
) u_b_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (s_axi_bvalid_o),
  .ready_i   (s_axi_bready_i),
  .payload_i (s_axi_bresp_o)
);
bind npu_csr npu_handshake_sva #(
  .Width(32 + 2)
) u_r_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (s_axi_rvalid_o),
  .ready_i   (s_axi_rready_i),
  .payload_i ({s_axi_rdata_o, s_axi_rresp_o})
);

// Engine side of the bus: what the engines offer to the width adapter.
bind npu_axi_read npu_handshake_sva #(
  .Width(32 + 8)
) u_ar_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (m_axi_arvalid_o),
  .ready_i   (m_axi_arready_i),
  .payload_i ({m_axi_araddr_o, m_axi_arlen_o})
);
bind npu_axi_write npu_handshake_sva #(
  .Width(32 + 8)
) u_aw_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (m_axi_awvalid_o),
  .ready_i   (m_axi_awready_i),
  .payload_i ({m_axi_awaddr_o, m_axi_awlen_o})
);
bind npu_axi_write npu_handshake_sva #(
  .Width(64 + 1)
) u_w_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (m_axi_wvalid_o),
  .ready_i   (m_axi_wready_i),
  .payload_i ({m_axi_wdata_o, m_axi_wlast_o})
);

// Requests to the bus engines. A stop withdraws them, and END those of the command stream.
bind npu_fetch npu_handshake_sva #(
  .Width(32 + 16)
) u_req_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(stop_i || start_i || (beat_ready && first_q && finish_q)),
  .valid_i   (req_valid_o),
  .ready_i   (req_ready_i),
  .payload_i ({req_address_o, req_beats_o})
);
bind npu_load npu_handshake_sva #(
  .Width(32 + 16)
) u_req_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(stop_i),
  .valid_i   (req_valid_o),
  .ready_i   (req_ready_i),
  .payload_i ({req_address_o, req_beats_o})
);
bind npu_store npu_handshake_sva #(
  .Width(32 + 16 + 1)
) u_req_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(stop_i),
  .valid_i   (req_valid_o),
  .ready_i   (req_ready_i),
  .payload_i ({req_address_o, req_beats_o, req_last_o})
);

// The command stream: from the fetch unit to the queues, and from the queues to the units.
bind npu_fetch npu_handshake_sva #(
  .Width(3 + 64)
) u_push_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(start_i),
  .valid_i   (push_valid_o != '0),
  .ready_i   ((push_valid_o & push_ready_i) != '0),
  .payload_i ({push_valid_o, push_data_o})
);
bind npu_queue npu_handshake_sva #(
  .Width(64 * Beats)
) u_head_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (head_valid_o),
  .ready_i   (pop_i),
  .payload_i (head_o)
);
// A frame that ends in a fault withdraws the command.
bind npu_top npu_handshake_sva #(
  .Width(npu_pkg::ExecBits)
) u_exec_sva (
  .clk_i,
  .rst_ni    (core_rst_nq),
  .withdraw_i(!running),
  .valid_i   (exec_valid),
  .ready_i   (exec_ready),
  .payload_i (exec_cmd)
);

// Requests for the banks' second port.
bind npu_bank_arbiter npu_handshake_sva #(
  .Width(npu_pkg::RowBits + npu_pkg::BankAddrBits + 9 * npu_pkg::Lanes)
) u_ld_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (ld_valid_i),
  .ready_i   (ld_ready_o),
  .payload_i ({ld_bank_i, ld_addr_i, ld_data_i, ld_be_i})
);
bind npu_bank_arbiter npu_handshake_sva #(
  .Width(npu_pkg::RowBits + npu_pkg::BankAddrBits)
) u_st_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (st_valid_i),
  .ready_i   (st_ready_o),
  .payload_i ({st_bank_i, st_addr_i})
);
bind npu_bank_arbiter npu_handshake_sva #(
  .Width(npu_pkg::DrainRows * (1 + npu_pkg::RowBits + npu_pkg::BankAddrBits))
) u_ew_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (ew_request_i != '0),
  .ready_i   (ew_grant_o),
  .payload_i ({ew_request_i, ew_bank_i, ew_addr_i})
);
bind npu_store npu_handshake_sva #(
  .Width(npu_pkg::RowBits + npu_pkg::BankAddrBits)
) u_st_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (st_valid_o),
  .ready_i   (st_ready_i),
  .payload_i ({st_bank_o, st_addr_o})
);

// Skip list.
bind npu_skip_list npu_handshake_sva #(
  .Width(7 + 1)
) u_entry_sva (
  .clk_i,
  .rst_ni,
  .withdraw_i(1'b0),
  .valid_i   (valid_o),
  .ready_i   (pop_i),
  .payload_i ({skip_o, last_o})
);
