// The core: array, map banks, weights, requantiser. Two commands are in flight at once: the next
// one's first words are fetched while the running one's last taps are taken and its tiles drain.

module npu_exec (
    input  logic                                              clk,
    input  logic                                              rst,
    // Commands, whose waits are over; `done` tells that the last result is written, in order.
    input  logic                                              cmd_valid,
    output logic                                              cmd_ready,
    input  npu_pkg::exec_t                                    cmd,
    output logic                                              done,
    output logic                                              illegal,
    // LOAD: maps.
    input  logic                                              ld_valid,
    output logic                                              ld_ready,
    input  logic           [            npu_pkg::RowBits-1:0] ld_bank,
    input  logic           [       npu_pkg::BankAddrBits-1:0] ld_addr,
    input  logic           [            8*npu_pkg::Lanes-1:0] ld_data,
    input  logic           [              npu_pkg::Lanes-1:0] ld_be,
    // STORE: maps; the answer comes four cycles after the request is taken.
    input  logic                                              st_valid,
    output logic                                              st_ready,
    input  logic           [            npu_pkg::RowBits-1:0] st_bank,
    input  logic           [       npu_pkg::BankAddrBits-1:0] st_addr,
    output logic                                              st_rvalid,
    output logic           [            8*npu_pkg::Lanes-1:0] st_rdata,
    // LOAD: weights (control byte above the rows' bytes), parameters, tables; always taken.
    input  logic                                              lw_valid,
    input  logic           [     npu_pkg::WeightAddrBits-1:0] lw_addr,
    input  logic           [           8*npu_pkg::Rows+8-1:0] lw_data,
    input  logic                                              lp_valid,
    input  logic           [      npu_pkg::ParamAddrBits-1:0] lp_addr,
    input  logic           [                           127:0] lp_data,
    input  logic                                              lt_valid,
    input  logic                                              lt_select,
    input  logic           [                             4:0] lt_addr,
    input  logic           [                            63:0] lt_data,
    // Counters: to be added up every cycle.
    output logic                                              busy_mac,
    output logic           [                            10:0] skipped,
    output logic                                              stall_drain,
    output logic                                              stall_residual,
    output logic                                              idle
);

  // The two commands in flight, by the low bit of their number.
  npu_pkg::exec_t commands_q[2];
  npu_core_pkg::shape_t shapes_q[2], shape_q;
  logic [1:0] accepted, accepted_q, finished, finished_q, in_flight, open;
  logic legal, seen_q, room_q, take;

  npu_exec_legal u_check (
      .clk,
      .cmd,
      .legal
  );

  // A command is looked at for a cycle before it is taken.
  assign in_flight = accepted_q - finished_q;
  assign cmd_ready = seen_q && room_q;
  assign take = cmd_valid && cmd_ready;
  assign idle = in_flight == '0;
  assign accepted = rst ? '0 : accepted_q + 2'(take && legal);
  assign finished = rst ? '0 : finished_q + 2'(done);

  always_ff @(posedge clk) begin
    seen_q <= cmd_valid && !cmd_ready && !rst;
    illegal <= take && !legal && !rst;
    accepted_q <= accepted;
    finished_q <= finished;
    // A place is free: known a cycle ahead, since a thousand registers go by it.
    room_q <= 2'(accepted - finished) < 2'd2;
    shape_q <= npu_core_pkg::shape_of(cmd);
  end

  // A place that is free takes in whatever is offered; `accepted_q` says that it is a command. Parts of a
  // command stand all over the device and are opened by registers of their own.
  localparam int unsigned Part = 64;
  for (genvar i = 0; i < 2; i++) begin : gen_place
    assign open[i] = 2'(accepted - finished) < 2'd2 && accepted[0] == 1'(i);
    for (genvar p = 0; p < npu_pkg::ExecBits / Part; p++) begin : gen_part
      logic open_q;
      npu_replica u_open (
          .clk,
          .in (open[i]),
          .out(open_q)
      );
      always_ff @(posedge clk) if (open_q) commands_q[i][Part*p+:Part] <= cmd[Part*p+:Part];
    end
    logic open_shape_q;
    npu_replica u_open_shape (
        .clk,
        .in (open[i]),
        .out(open_shape_q)
    );
    always_ff @(posedge clk) if (open_shape_q) shapes_q[i] <= shape_q;
  end

  logic list_valid, list_last, list_pop;
  logic [6:0] list_skip;
  logic [7:0] list_control;
  logic [npu_pkg::WeightAddrBits-1:0] list_addr;

  npu_list u_list (
      .clk,
      .rst,
      .commands(commands_q),
      .shapes(shapes_q),
      .accepted(accepted_q),
      .read(),
      .addr(list_addr),
      .control(list_control),
      .valid(list_valid),
      .skip(list_skip),
      .last(list_last),
      .pop(list_pop)
  );

  // LOAD's words lie a register ahead of memories that stand across the device.
  logic lw_valid_q, lp_valid_q, lt_valid_q, lt_select_q;
  logic [npu_pkg::WeightAddrBits-1:0] lw_addr_q;
  logic [8*npu_pkg::Rows+8-1:0] lw_data_q;
  logic [npu_pkg::ParamAddrBits-1:0] lp_addr_q;
  logic [127:0] lp_data_q;
  logic [4:0] lt_addr_q;
  logic [63:0] lt_data_q;
  always_ff @(posedge clk) begin
    lw_valid_q <= lw_valid && !rst;
    lw_addr_q <= lw_addr;
    lw_data_q <= lw_data;
    lp_valid_q <= lp_valid && !rst;
    lp_addr_q <= lp_addr;
    lp_data_q <= lp_data;
    lt_valid_q <= lt_valid && !rst;
    lt_select_q <= lt_select;
    lt_addr_q <= lt_addr;
    lt_data_q <= lt_data;
  end

  npu_core_pkg::second_count_t second_level;
  logic [npu_pkg::RowBits:0] second_take;
  npu_core_pkg::step_t step, early_step, data_step;

  npu_sequencer u_sequencer (
      .clk,
      .rst,
      .commands(commands_q),
      .shapes(shapes_q),
      .accepted(accepted_q),
      .list_valid,
      .list_skip,
      .list_last,
      .list_pop,
      .second_level,
      .second_take,
      .step,
      .skipped,
      .stall_drain,
      .stall_second(stall_residual)
  );

  logic [npu_pkg::BankAddrBits-1:0] op_addr;
  logic [8*npu_pkg::Lanes-1:0] op_data[npu_pkg::Rows], operand[npu_pkg::Rows];
  logic [npu_pkg::LaneBits-1:0] early_offset;

  npu_operand_address u_operand_address (
      .clk,
      .rst,
      .commands(commands_q),
      .step,
      .bank_addr(op_addr),
      .early_step,
      .early_offset,
      .data_step
  );

  npu_core_pkg::tap_t weight_tap, array_tap;
  logic weight_side;

  npu_taps u_taps (
      .clk,
      .rst,
      .commands(commands_q),
      .shapes(shapes_q),
      .early_step,
      .early_offset,
      .step(data_step),
      .data(op_data),
      .weight_side,
      .weight_tap,
      .array_tap,
      .operand_valid(busy_mac),
      .operand
  );

  logic [npu_pkg::Rows-1:0][7:0] weight;

  npu_weights u_weights (
      .clk,
      .commands(commands_q),
      .lw_valid(lw_valid_q),
      .lw_addr(lw_addr_q),
      .lw_data(lw_data_q),
      .list_addr,
      .list_control,
      .side(weight_side),
      .tap(weight_tap),
      .weight
  );

  logic tile_done, tile_halves;
  logic signed [npu_core_pkg::AccBits-1:0] shadow[npu_pkg::Rows][npu_pkg::Lanes];

  npu_array u_array (
      .clk,
      .rst,
      .commands(commands_q),
      .tap(array_tap),
      .operand,
      .weight,
      .done(tile_done),
      .done_halves(tile_halves),
      .shadow
  );

  npu_core_pkg::slot_t slot;
  npu_core_pkg::tile_t drain_tile;
  logic signed [31:0] row[npu_pkg::DrainRows][npu_pkg::Lanes];

  npu_drain u_drain (
      .clk,
      .rst,
      .commands(commands_q),
      .shapes(shapes_q),
      .accepted(accepted_q),
      .done(tile_done),
      .halves(tile_halves),
      .shadow,
      .slot,
      .tile(drain_tile),
      .row
  );

  localparam int unsigned DrainRows = npu_pkg::DrainRows;
  logic rs_grant, rs_answer, second_pop;
  logic [DrainRows-1:0] wr_valid, rs_request;
  logic [DrainRows-1:0][npu_pkg::RowBits-1:0] wr_bank, rs_bank;
  logic [DrainRows-1:0][npu_pkg::BankAddrBits-1:0] wr_addr, rs_addr;
  logic [DrainRows-1:0][8*npu_pkg::Lanes-1:0] wr_data, rs_data, second;
  logic [npu_pkg::Lanes-1:0] wr_be;

  npu_requant u_requant (
      .clk,
      .rst,
      .commands(commands_q),
      .slot,
      .tile(drain_tile),
      .row,
      .second,
      .second_pop,
      .lp_valid(lp_valid_q),
      .lp_addr(lp_addr_q),
      .lp_data(lp_data_q),
      .lt_valid(lt_valid_q),
      .lt_select(lt_select_q),
      .lt_addr(lt_addr_q),
      .lt_data(lt_data_q),
      .wr_valid,
      .wr_bank,
      .wr_addr,
      .wr_data,
      .wr_be,
      .done
  );

  npu_residual u_residual (
      .clk,
      .rst,
      .commands(commands_q),
      .shapes(shapes_q),
      .accepted(accepted_q),
      .request(rs_request),
      .bank(rs_bank),
      .addr(rs_addr),
      .grant(rs_grant),
      .answer(rs_answer),
      .data(rs_data),
      .level(second_level),
      .take(second_take),
      .head(second),
      .pop(second_pop)
  );

  npu_ports u_ports (
      .clk,
      .rst,
      .op_addr,
      .op_data,
      .wr_valid,
      .wr_bank,
      .wr_addr,
      .wr_data,
      .wr_be,
      .rs_request,
      .rs_bank,
      .rs_addr,
      .rs_grant,
      .rs_answer,
      .rs_data,
      .ld_valid,
      .ld_ready,
      .ld_bank,
      .ld_addr,
      .ld_data,
      .ld_be,
      .st_valid,
      .st_ready,
      .st_bank,
      .st_addr,
      .st_rvalid,
      .st_rdata
  );

endmodule
