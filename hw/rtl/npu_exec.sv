// The core: MAC array, feature-map banks, weights, requantiser. It executes EXEC commands whose
// waits are over; done_o marks the last result of each, in order.
//
// Two commands are in flight at once, each in a context of its own: the first vectors of the next
// one are fetched while the current one's last taps are issued and its tiles drain.

module npu_exec (
  input  logic                                         clk_i,
  input  logic                                         rst_ni,
  // Commands whose waits are over; `done_o` says that the last result is written, in command order.
  input  logic                                         cmd_valid_i,
  output logic                                         cmd_ready_o,
  input  npu_pkg::exec_t                               cmd_i,
  output logic                                         done_o,
  output logic                                         illegal_o,
  // LOAD of feature maps.
  input  logic                                         ld_valid_i,
  output logic                                         ld_ready_o,
  input  logic           [       npu_pkg::RowBits-1:0] ld_bank_i,
  input  logic           [  npu_pkg::BankAddrBits-1:0] ld_addr_i,
  input  logic           [       8*npu_pkg::Lanes-1:0] ld_data_i,
  input  logic           [         npu_pkg::Lanes-1:0] ld_be_i,
  // STORE of feature maps; the data arrive four cycles after the request is accepted.
  input  logic                                         st_valid_i,
  output logic                                         st_ready_o,
  input  logic           [       npu_pkg::RowBits-1:0] st_bank_i,
  input  logic           [  npu_pkg::BankAddrBits-1:0] st_addr_i,
  output logic                                         st_rvalid_o,
  output logic           [       8*npu_pkg::Lanes-1:0] st_rdata_o,
  // LOAD of weights (control byte above the rows' bytes), parameters and tables; always accepted.
  input  logic                                         lw_valid_i,
  input  logic           [npu_pkg::WeightAddrBits-1:0] lw_addr_i,
  input  logic           [      8*npu_pkg::Rows+8-1:0] lw_data_i,
  input  logic                                         lp_valid_i,
  input  logic           [ npu_pkg::ParamAddrBits-1:0] lp_addr_i,
  input  logic           [                      127:0] lp_data_i,
  input  logic                                         lt_valid_i,
  input  logic                                         lt_select_i,
  input  logic           [                        4:0] lt_addr_i,
  input  logic           [                       63:0] lt_data_i,
  // Events for the counters, one increment per cycle.
  output logic                                         busy_mac_o,
  output logic           [                       10:0] skipped_o,
  output logic                                         stall_drain_o,
  output logic                                         stall_residual_o,
  output logic                                         idle_o
);

  // The two contexts; the low bit of a command's number selects one.
  npu_pkg::exec_t commands_q[2];
  npu_core_pkg::shape_t shapes_q[2], shape_q;
  logic [1:0] accepted, accepted_q, finished, finished_q, in_flight, write_en;
  logic legal, checked_q, slot_free_q, take;

  npu_exec_legal u_check (
    .clk_i,
    .cmd_i,
    .legal_o(legal)
  );

  // A command passes one cycle of legality checking before it is accepted.
  assign in_flight = accepted_q - finished_q;
  assign cmd_ready_o = checked_q && slot_free_q;
  assign take = cmd_valid_i && cmd_ready_o;
  assign idle_o = in_flight == '0;
  assign accepted = !rst_ni ? '0 : accepted_q + 2'(take && legal);
  assign finished = !rst_ni ? '0 : finished_q + 2'(done_o);

  always_ff @(posedge clk_i) begin
    checked_q <= cmd_valid_i && !cmd_ready_o && rst_ni;
    illegal_o <= take && !legal && rst_ni;
    accepted_q <= accepted;
    finished_q <= finished;
    // A context is free. This is computed one cycle ahead, since it enables a thousand registers.
    slot_free_q <= 2'(accepted - finished) < 2'd2;
    shape_q <= npu_core_pkg::shape_of(cmd_i);
  end

  // A free context captures whatever is offered; `accepted_q` says that it holds a command. The
  // fields of a command are placed across the device, so each slice of 64 bits has its own
  // registered write enable.
  localparam int unsigned Part = 64;
  for (genvar i = 0; i < 2; i++) begin : gen_context
    assign write_en[i] = 2'(accepted - finished) < 2'd2 && accepted[0] == 1'(i);
    for (genvar p = 0; p < npu_pkg::ExecBits / Part; p++) begin : gen_part
      logic write_en_q;
      npu_replica u_write_en (
        .clk_i,
        .d_i(write_en[i]),
        .q_o(write_en_q)
      );
      always_ff @(posedge clk_i) if (write_en_q) commands_q[i][Part*p+:Part] <= cmd_i[Part*p+:Part];
    end
    logic write_shape_q;
    npu_replica u_write_shape (
      .clk_i,
      .d_i(write_en[i]),
      .q_o(write_shape_q)
    );
    always_ff @(posedge clk_i) if (write_shape_q) shapes_q[i] <= shape_q;
  end

  logic list_valid, list_last, list_pop;
  logic [6:0] list_skip;
  logic [7:0] list_control;
  logic [npu_pkg::WeightAddrBits-1:0] list_addr;

  npu_skip_list u_skip_list (
    .clk_i,
    .rst_ni,
    .commands_i(commands_q),
    .shapes_i  (shapes_q),
    .accepted_i(accepted_q),
    .read_o    (),
    .addr_o    (list_addr),
    .control_i (list_control),
    .valid_o   (list_valid),
    .skip_o    (list_skip),
    .last_o    (list_last),
    .pop_i     (list_pop)
  );

  // LOAD data are registered once more, since these memories are placed across the device.
  logic lw_valid_q, lp_valid_q, lt_valid_q, lt_select_q;
  logic [npu_pkg::WeightAddrBits-1:0] lw_addr_q;
  logic [8*npu_pkg::Rows+8-1:0] lw_data_q;
  logic [npu_pkg::ParamAddrBits-1:0] lp_addr_q;
  logic [127:0] lp_data_q;
  logic [4:0] lt_addr_q;
  logic [63:0] lt_data_q;
  always_ff @(posedge clk_i) begin
    lw_valid_q <= lw_valid_i && rst_ni;
    lw_addr_q <= lw_addr_i;
    lw_data_q <= lw_data_i;
    lp_valid_q <= lp_valid_i && rst_ni;
    lp_addr_q <= lp_addr_i;
    lp_data_q <= lp_data_i;
    lt_valid_q <= lt_valid_i && rst_ni;
    lt_select_q <= lt_select_i;
    lt_addr_q <= lt_addr_i;
    lt_data_q <= lt_data_i;
  end

  npu_core_pkg::eltwise_count_t eltwise_level;
  logic [npu_pkg::RowBits:0] eltwise_take;
  npu_core_pkg::step_t step, early_step, data_step;

  npu_sequencer u_sequencer (
    .clk_i,
    .rst_ni,
    .commands_i     (commands_q),
    .shapes_i       (shapes_q),
    .accepted_i     (accepted_q),
    .list_valid_i   (list_valid),
    .list_skip_i    (list_skip),
    .list_last_i    (list_last),
    .list_pop_o     (list_pop),
    .eltwise_level_i(eltwise_level),
    .eltwise_take_o (eltwise_take),
    .step_o         (step),
    .skipped_o,
    .stall_drain_o,
    .stall_eltwise_o(stall_residual_o)
  );

  logic [npu_pkg::BankAddrBits-1:0] op_addr;
  logic [8*npu_pkg::Lanes-1:0] op_data[npu_pkg::Rows], operand[npu_pkg::Rows];
  logic [npu_pkg::LaneBits-1:0] early_offset;

  npu_operand_addr u_operand_addr (
    .clk_i,
    .rst_ni,
    .commands_i    (commands_q),
    .step_i        (step),
    .bank_addr_o   (op_addr),
    .early_step_o  (early_step),
    .early_offset_o(early_offset),
    .data_step_o   (data_step)
  );

  npu_core_pkg::tap_t weight_tap, array_tap;
  logic weight_ctx;

  npu_tap_mux u_tap_mux (
    .clk_i,
    .rst_ni,
    .commands_i     (commands_q),
    .shapes_i       (shapes_q),
    .early_step_i   (early_step),
    .early_offset_i (early_offset),
    .step_i         (data_step),
    .data_i         (op_data),
    .weight_ctx_o   (weight_ctx),
    .weight_tap_o   (weight_tap),
    .array_tap_o    (array_tap),
    .operand_valid_o(busy_mac_o),
    .operand_o      (operand)
  );

  logic [npu_pkg::Rows-1:0][7:0] weight;

  npu_weights u_weights (
    .clk_i,
    .commands_i    (commands_q),
    .lw_valid_i    (lw_valid_q),
    .lw_addr_i     (lw_addr_q),
    .lw_data_i     (lw_data_q),
    .list_addr_i   (list_addr),
    .list_control_o(list_control),
    .ctx_i         (weight_ctx),
    .tap_i         (weight_tap),
    .weight_o      (weight)
  );

  logic tile_done, tile_halves;
  logic signed [npu_core_pkg::AccBits-1:0] shadow[npu_pkg::Rows][npu_pkg::Lanes];

  npu_array u_array (
    .clk_i,
    .rst_ni,
    .commands_i   (commands_q),
    .tap_i        (array_tap),
    .operand_i    (operand),
    .weight_i     (weight),
    .done_o       (tile_done),
    .done_halves_o(tile_halves),
    .shadow_o     (shadow)
  );

  npu_core_pkg::slot_t slot;
  npu_core_pkg::tile_t drain_tile;
  logic signed [31:0] row[npu_pkg::DrainRows][npu_pkg::Lanes];

  npu_drain u_drain (
    .clk_i,
    .rst_ni,
    .commands_i(commands_q),
    .shapes_i  (shapes_q),
    .accepted_i(accepted_q),
    .done_i    (tile_done),
    .halves_i  (tile_halves),
    .shadow_i  (shadow),
    .slot_o    (slot),
    .tile_o    (drain_tile),
    .row_o     (row)
  );

  localparam int unsigned DrainRows = npu_pkg::DrainRows;
  logic ew_grant, ew_rvalid, eltwise_pop;
  logic [DrainRows-1:0] wr_valid, ew_request;
  logic [DrainRows-1:0][npu_pkg::RowBits-1:0] wr_bank, ew_bank;
  logic [DrainRows-1:0][npu_pkg::BankAddrBits-1:0] wr_addr, ew_addr;
  logic [DrainRows-1:0][8*npu_pkg::Lanes-1:0] wr_data, ew_data, eltwise;
  logic [npu_pkg::Lanes-1:0] wr_be;

  npu_requant u_requant (
    .clk_i,
    .rst_ni,
    .commands_i   (commands_q),
    .slot_i       (slot),
    .tile_i       (drain_tile),
    .row_i        (row),
    .eltwise_i    (eltwise),
    .eltwise_pop_o(eltwise_pop),
    .lp_valid_i   (lp_valid_q),
    .lp_addr_i    (lp_addr_q),
    .lp_data_i    (lp_data_q),
    .lt_valid_i   (lt_valid_q),
    .lt_select_i  (lt_select_q),
    .lt_addr_i    (lt_addr_q),
    .lt_data_i    (lt_data_q),
    .wr_valid_o   (wr_valid),
    .wr_bank_o    (wr_bank),
    .wr_addr_o    (wr_addr),
    .wr_data_o    (wr_data),
    .wr_be_o      (wr_be),
    .done_o
  );

  npu_eltwise_fetch u_eltwise_fetch (
    .clk_i,
    .rst_ni,
    .commands_i(commands_q),
    .shapes_i  (shapes_q),
    .accepted_i(accepted_q),
    .request_o (ew_request),
    .bank_o    (ew_bank),
    .addr_o    (ew_addr),
    .grant_i   (ew_grant),
    .rvalid_i  (ew_rvalid),
    .rdata_i   (ew_data),
    .level_o   (eltwise_level),
    .take_i    (eltwise_take),
    .head_o    (eltwise),
    .pop_i     (eltwise_pop)
  );

  npu_bank_arbiter u_bank_arbiter (
    .clk_i,
    .rst_ni,
    .op_addr_i   (op_addr),
    .op_data_o   (op_data),
    .wr_valid_i  (wr_valid),
    .wr_bank_i   (wr_bank),
    .wr_addr_i   (wr_addr),
    .wr_data_i   (wr_data),
    .wr_be_i     (wr_be),
    .ew_request_i(ew_request),
    .ew_bank_i   (ew_bank),
    .ew_addr_i   (ew_addr),
    .ew_grant_o  (ew_grant),
    .ew_rvalid_o (ew_rvalid),
    .ew_data_o   (ew_data),
    .ld_valid_i,
    .ld_ready_o,
    .ld_bank_i,
    .ld_addr_i,
    .ld_data_i,
    .ld_be_i,
    .st_valid_i,
    .st_ready_o,
    .st_bank_i,
    .st_addr_i,
    .st_rvalid_o,
    .st_rdata_o
  );

endmodule
