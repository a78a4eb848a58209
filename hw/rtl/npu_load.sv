// LOAD unit: reads feature maps, weights, parameters and tables from memory into the on-chip
// memories.
//
// Three stages hold one command each: decode, request, write. Units: 8-byte beats arrive; entries
// are vectors, weight words (`Rows` bytes and a control byte), 16-byte parameters and 8-byte pieces
// of a table.
module npu_load (
  input  logic                                                   clk_i,
  input  logic                                                   rst_ni,
  input  logic                                                   stop_i,
  // The oldest command; `cmd_pop_o` when it is taken.
  input  logic                                                   cmd_valid_i,
  input  npu_pkg::transfer_t                                     cmd_i,
  input  logic                                                   cmd_waits_i,
  output logic                                                   cmd_pop_o,
  input  logic               [                        1:0][31:0] region_base_i,
  input  logic               [                        1:0][31:0] region_bytes_i,
  output logic                                                   illegal_o,
  output logic                                                   outside_o,
  output logic                                                   done_o,
  output logic                                                   idle_o,
  // Read requests and their beats.
  output logic                                                   req_valid_o,
  input  logic                                                   req_ready_i,
  output logic               [                       31:0]       req_address_o,
  output logic               [                       15:0]       req_beats_o,
  input  logic                                                   data_valid_i,
  output logic                                                   data_ready_o,
  input  logic               [                       63:0]       data_i,
  // Feature-map banks.
  output logic                                                   ld_valid_o,
  input  logic                                                   ld_ready_i,
  output logic               [       npu_pkg::RowBits-1:0]       ld_bank_o,
  output logic               [  npu_pkg::BankAddrBits-1:0]       ld_addr_o,
  output logic               [       8*npu_pkg::Lanes-1:0]       ld_data_o,
  output logic               [         npu_pkg::Lanes-1:0]       ld_be_o,
  // Weights with their control byte on top, parameters, tables.
  output logic                                                   lw_valid_o,
  output logic               [npu_pkg::WeightAddrBits-1:0]       lw_addr_o,
  output logic               [        8*npu_pkg::Rows+7:0]       lw_data_o,
  output logic                                                   lp_valid_o,
  output logic               [ npu_pkg::ParamAddrBits-1:0]       lp_addr_o,
  output logic               [                      127:0]       lp_data_o,
  output logic                                                   lt_valid_o,
  output logic                                                   lt_select_o,
  output logic               [                        4:0]       lt_addr_o,
  output logic               [                       63:0]       lt_data_o
);
  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;

  // Decode stage.
  logic work_region;
  logic decode_done, decode_illegal, decode_outside, contiguous;
  logic [15:0] span_beats;
  logic [AddrBits-1:0] plane_address, ring;

  assign work_region = cmd_i.flags[npu_pkg::TransferFlagWork];
  npu_cmd_decode u_cmd_decode (
    .clk_i,
    .rst_ni,
    .valid_i        (cmd_valid_i),
    .cmd_i,
    .taken_i        (cmd_pop_o),
    .region_bytes_i (region_bytes_i[work_region]),
    .done_o         (decode_done),
    .illegal_o      (decode_illegal),
    .outside_o      (decode_outside),
    .span_beats_o   (span_beats),
    .contiguous_o   (contiguous),
    .plane_address_o(plane_address),
    .ring_o         (ring)
  );

  // Request stage; the command goes to the write stage at the same time.
  logic requesting, job_ready, job_valid, job_done;
  assign illegal_o = decode_done && decode_illegal && !stop_i;
  assign outside_o = decode_done && !decode_illegal && decode_outside && !stop_i;
  assign cmd_pop_o = decode_done && !decode_illegal && !decode_outside && !cmd_waits_i &&
      !requesting && job_ready && !stop_i;

  npu_burst_splitter u_burst_splitter (
    .clk_i,
    .rst_ni       (rst_ni && !stop_i),
    .start_i      (cmd_pop_o),
    .cmd_i,
    .region_base_i(region_base_i[work_region]),
    .span_beats_i (span_beats),
    .contiguous_i (contiguous),
    .valid_o      (requesting),
    .ready_i      (req_ready_i),
    .address_o    (req_address_o),
    .beats_o      (req_beats_o),
    .last_o       ()
  );
  assign req_valid_o = requesting && !stop_i;

  typedef struct packed {
    npu_pkg::transfer_t  cmd;
    logic [AddrBits-1:0] plane_address;
    logic [AddrBits-1:0] ring;
  } job_t;

  job_t job_in, job;
  assign job_in = '{cmd: cmd_i, plane_address: plane_address, ring: ring};

  npu_fifo #(
    .Width($bits(job_t)),
    .Depth(2)
  ) u_jobs (
    .clk_i,
    .rst_ni,
    .push_valid_i(cmd_pop_o),
    .push_ready_o(job_ready),
    .push_data_i (job_in),
    .pop_valid_o (job_valid),
    .pop_ready_i (job_done),
    .pop_data_o  (job),
    .count_o     ()
  );

  // Write stage. The first cycle of a job starts the address generator and decodes the opcode.
  logic is_map_q, is_weights_q, is_params_q, is_table_q, sparse_q, pairs_q;

  logic running_q, odd_q, complete_q, finished_q;
  logic [2:0] control_index_q;
  logic control_q;
  logic [63:0] low_q, controls_q;
  logic [15:0] entry_q, left_q;
  logic [npu_pkg::RowBits-1:0] agen_bank;
  logic [AddrBits-1:0] agen_addr;
  logic agen_last, agen_step, setup, accept, pairs, two, control, word, last_word;
  logic map_room, map_word, map_valid, map_last;

  assign setup = job_valid && !running_q && !finished_q;
  // Entries of 16 bytes arrive in two beats; `complete_q` says that the next beat is an entry's
  // last.
  assign pairs = job.cmd.opcode == npu_pkg::OpLoadParams ||
      (job.cmd.opcode == npu_pkg::OpLoadMap && npu_pkg::Lanes == 16) ||
      (job.cmd.opcode == npu_pkg::OpLoadWeights && npu_pkg::Rows == 16);
  assign two = pairs_q && !control_q;
  // Control bytes precede the first weights, and then follow every eighth weight word.
  assign control = !control_q && word && sparse_q && control_index_q == '1;
  assign data_ready_o = running_q && !(is_map_q && complete_q && !map_room);
  assign accept = data_valid_i && data_ready_o;
  // This beat completes an entry of its memory.
  assign word = accept && complete_q && !control_q;
  assign last_word = is_map_q ? agen_last : left_q == 16'd1;
  assign job_done = finished_q && (!map_valid || (ld_ready_i && map_last));
  assign map_word = word && is_map_q;

  // Vectors wait for their bank. With two beats per vector, one vector has left before the next one
  // is complete unless its bank is busy, and the address generator may step one cycle later. A free
  // register captures whatever is offered.
  if (npu_pkg::Lanes == 16) begin : gen_words
    assign map_room = !map_valid;
    always_ff @(posedge clk_i) begin
      agen_step <= map_word && rst_ni;
      if (map_room) begin
        ld_data_o <= {data_i, low_q};
        ld_bank_o <= agen_bank;
        ld_addr_o <= agen_addr;
        map_last <= agen_last;
      end
      if (!rst_ni) map_valid <= 1'b0;
      else if (map_word) map_valid <= 1'b1;
      else if (ld_ready_i) map_valid <= 1'b0;
    end
  end else begin : gen_words
    assign agen_step = map_word;
    npu_fifo #(
      .Width(64 + npu_pkg::RowBits + AddrBits + 1),
      .Depth(2)
    ) u_words (
      .clk_i,
      .rst_ni,
      .push_valid_i(map_word),
      .push_ready_o(map_room),
      .push_data_i ({data_i, agen_bank, agen_addr, agen_last}),
      .pop_valid_o (map_valid),
      .pop_ready_i (ld_ready_i),
      .pop_data_o  ({ld_data_o, ld_bank_o, ld_addr_o, map_last}),
      .count_o     ()
    );
  end
  npu_addr_gen u_addr_gen (
    .clk_i,
    .start_i        (setup),
    .cmd_i          (job.cmd),
    .plane_address_i(job.plane_address),
    .ring_i         (job.ring),
    .step_i         (agen_step),
    .bank_o         (agen_bank),
    .address_o      (agen_addr),
    .last_o         (agen_last)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
      finished_q <= 1'b0;
      done_o <= 1'b0;
    end else begin
      if (setup) running_q <= 1'b1;
      else if (word && last_word) running_q <= 1'b0;
      if (word && last_word) finished_q <= 1'b1;
      else if (job_done) finished_q <= 1'b0;
      done_o <= job_done && !stop_i;
    end
  end

  always_ff @(posedge clk_i) begin
    if (setup) begin
      is_map_q <= job.cmd.opcode == npu_pkg::OpLoadMap;
      is_weights_q <= job.cmd.opcode == npu_pkg::OpLoadWeights;
      is_params_q <= job.cmd.opcode == npu_pkg::OpLoadParams;
      is_table_q <= job.cmd.opcode == npu_pkg::OpLoadTable;
      sparse_q <= job.cmd.opcode == npu_pkg::OpLoadWeights &&
          job.cmd.flags[npu_pkg::TransferFlagSparse];
      control_q <= job.cmd.opcode == npu_pkg::OpLoadWeights &&
          job.cmd.flags[npu_pkg::TransferFlagSparse];
      pairs_q <= pairs;
      complete_q <= !pairs;
      odd_q <= 1'b0;
      control_index_q <= '0;
      entry_q <= job.cmd.base;
      left_q <= job.cmd.opcode == npu_pkg::OpLoadTable ? 16'd32 : job.cmd.words;
    end else if (accept) begin
      odd_q <= two && !odd_q;
      complete_q <= !pairs_q || control || (two && !odd_q);
      control_q <= control;
      if (word) begin
        left_q <= left_q - 1'b1;
        entry_q <= entry_q + 1'b1;
        if (is_weights_q && 32'(entry_q) == npu_pkg::WeightWords - 1) entry_q <= '0;
        if (is_params_q && 32'(entry_q) == npu_pkg::ParamEntries - 1) entry_q <= '0;
        control_index_q <= control_index_q + 1'b1;
      end
    end
    if (!complete_q) low_q <= data_i;
    // Rewritten in every cycle until the control bytes arrive.
    if (control_q) controls_q <= data_i;
  end

  assign ld_valid_o = map_valid;
  assign ld_be_o = '1;

  assign lw_valid_o = word && is_weights_q;
  assign lw_addr_o = entry_q[npu_pkg::WeightAddrBits-1:0];
  assign lw_data_o = {
    sparse_q ? controls_q[8*control_index_q+:8] : 8'd0,
    (8 * npu_pkg::Rows)'(npu_pkg::Rows == 16 ? {data_i, low_q} : 128'(data_i))
  };
  assign lp_valid_o = word && is_params_q;
  assign lp_addr_o = entry_q[npu_pkg::ParamAddrBits-1:0];
  assign lp_data_o = {data_i, low_q};
  assign lt_valid_o = word && is_table_q;
  assign lt_select_o = job.cmd.flags[npu_pkg::TransferFlagTableSelect];
  assign lt_addr_o = 5'd0 - left_q[4:0];
  assign lt_data_o = data_i;

  assign idle_o = !cmd_valid_i && !requesting && !job_valid;
endmodule
