// LOAD queue: reads maps, weights, parameters and tables into the on-chip memories.
//
// Three stages, a command in each: checking the oldest command, requesting its bytes, writing them.
module npu_load (
  input  logic               clk,
  input  logic               rst,
  input  logic               stop,
  // Oldest command; `cmd_pop` when it is taken.
  input  logic               cmd_valid,
  input  npu_pkg::transfer_t cmd,
  input  logic               cmd_waits,
  output logic               cmd_pop,
  input  logic [1:0][31:0]   region_base,
  input  logic [1:0][31:0]   region_bytes,
  output logic               illegal,
  output logic               outside,
  output logic               done,
  output logic               idle,
  // Reads.
  output logic               req_valid,
  input  logic               req_ready,
  output logic [31:0]        req_address,
  output logic [15:0]        req_beats,
  input  logic               data_valid,
  output logic               data_ready,
  input  logic [63:0]        data,
  // Map banks.
  output logic                             ld_valid,
  input  logic                             ld_ready,
  output logic [npu_pkg::RowBits-1:0]      ld_bank,
  output logic [npu_pkg::BankAddrBits-1:0] ld_addr,
  output logic [8*npu_pkg::Lanes-1:0]      ld_data,
  output logic [npu_pkg::Lanes-1:0]        ld_be,
  // Weights with their control byte on top, parameters, tables.
  output logic                              lw_valid,
  output logic [npu_pkg::WeightAddrBits-1:0] lw_addr,
  output logic [8*npu_pkg::Rows+7:0]        lw_data,
  output logic                              lp_valid,
  output logic [npu_pkg::ParamAddrBits-1:0] lp_addr,
  output logic [127:0]                      lp_data,
  output logic                              lt_valid,
  output logic                              lt_select,
  output logic [4:0]                        lt_addr,
  output logic [63:0]                       lt_data
);
  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;

  // Checking.
  logic                work;
  logic                checked, unsound, strays, contiguous;
  logic [15:0]         span_beats;
  logic [AddrBits-1:0] plane_address, ring;

  assign work = cmd.flags[npu_pkg::TransferFlagWork];
  npu_prepare u_prepare (
    .clk, .rst,
    .valid(cmd_valid), .cmd, .taken(cmd_pop), .region_bytes(region_bytes[work]),
    .done(checked), .illegal(unsound), .outside(strays), .span_beats, .contiguous, .plane_address, .ring
  );

  // Requesting; the command goes on to the writer at the same time.
  logic requesting, job_ready, job_valid, job_done;
  assign illegal = checked && unsound && !stop;
  assign outside = checked && !unsound && strays && !stop;
  assign cmd_pop = checked && !unsound && !strays && !cmd_waits && !requesting && job_ready && !stop;

  npu_segments u_segments (
    .clk, .rst(rst || stop), .start(cmd_pop),
    .cmd, .region_base(region_base[work]), .span_beats, .contiguous,
    .valid(requesting), .ready(req_ready), .address(req_address), .beats(req_beats), .last()
  );
  assign req_valid = requesting && !stop;

  typedef struct packed {
    npu_pkg::transfer_t  cmd;
    logic [AddrBits-1:0] plane_address;
    logic [AddrBits-1:0] ring;
  } job_t;

  job_t job_in, job;
  assign job_in = '{cmd: cmd, plane_address: plane_address, ring: ring};

  npu_fifo #(.Width($bits(job_t)), .Depth(2)) u_jobs (
    .clk, .rst,
    .push_valid(cmd_pop), .push_ready(job_ready), .push_data(job_in),
    .pop_valid(job_valid), .pop_ready(job_done), .pop_data(job),
    .count()
  );

  // Writing. The first cycle of a job sets up the walk and says what it is.
  logic is_map_q, is_weights_q, is_params_q, is_table_q, sparse_q, pairs_q;

  logic        running_q, odd_q, complete_q, finished_q;
  logic [2:0]  place_q;
  logic        control_q;
  logic [63:0] low_q, controls_q;
  logic [15:0] entry_q, left_q;
  logic [npu_pkg::RowBits-1:0] walk_bank;
  logic [AddrBits-1:0] walk_addr;
  logic        walk_last, walk_step, setup, accept, pairs, two, control, word, last_word;
  logic        map_room, map_word, map_valid, map_last;

  assign setup    = job_valid && !running_q && !finished_q;
  // Entries of 16 bytes come in two beats; `complete_q` says that the next beat is an entry's last.
  assign pairs      = job.cmd.opcode == npu_pkg::OpLoadParams
    || (job.cmd.opcode == npu_pkg::OpLoadMap && npu_pkg::Lanes == 16)
    || (job.cmd.opcode == npu_pkg::OpLoadWeights && npu_pkg::Rows == 16);
  assign two        = pairs_q && !control_q;
  // Control bytes come ahead of the first weights and of every ninth beat on.
  assign control    = !control_q && word && sparse_q && place_q == '1;
  assign data_ready = running_q && !(is_map_q && complete_q && !map_room);
  assign accept     = data_valid && data_ready;
  // A beat that completes an entry of its memory.
  assign word       = accept && complete_q && !control_q;
  assign last_word  = is_map_q ? walk_last : left_q == 16'd1;
  assign job_done   = finished_q && (!map_valid || (ld_ready && map_last));
  assign map_word   = word && is_map_q;

  // Words for the banks wait for their turn. One of two beats has left before the next one is complete, unless
  // its bank is taken, and leaves time to move on a cycle later. What is free takes in whatever is offered.
  if (npu_pkg::Lanes == 16) begin : g_words
    assign map_room = !map_valid;
    always_ff @(posedge clk) begin
      walk_step <= map_word && !rst;
      if (map_room) begin
        ld_data  <= {data, low_q};
        ld_bank  <= walk_bank;
        ld_addr  <= walk_addr;
        map_last <= walk_last;
      end
      if (rst) map_valid <= 1'b0;
      else if (map_word) map_valid <= 1'b1;
      else if (ld_ready) map_valid <= 1'b0;
    end
  end else begin : g_words
    assign walk_step = map_word;
    npu_fifo #(.Width(64 + npu_pkg::RowBits + AddrBits + 1), .Depth(2)) u_words (
      .clk, .rst,
      .push_valid(map_word), .push_ready(map_room), .push_data({data, walk_bank, walk_addr, walk_last}),
      .pop_valid(map_valid), .pop_ready(ld_ready), .pop_data({ld_data, ld_bank, ld_addr, map_last}),
      .count()
    );
  end
  npu_walk u_walk (
    .clk, .start(setup), .cmd(job.cmd), .plane_address(job.plane_address), .ring(job.ring),
    .step(walk_step), .bank(walk_bank), .address(walk_addr), .last(walk_last)
  );

  always_ff @(posedge clk) begin
    if (rst) begin
      running_q   <= 1'b0;
      finished_q  <= 1'b0;
      done        <= 1'b0;
    end else begin
      if (setup) running_q <= 1'b1;
      else if (word && last_word) running_q <= 1'b0;
      if (word && last_word) finished_q <= 1'b1;
      else if (job_done) finished_q <= 1'b0;
      done <= job_done && !stop;
    end
  end

  always_ff @(posedge clk) begin
    if (setup) begin
      is_map_q     <= job.cmd.opcode == npu_pkg::OpLoadMap;
      is_weights_q <= job.cmd.opcode == npu_pkg::OpLoadWeights;
      is_params_q  <= job.cmd.opcode == npu_pkg::OpLoadParams;
      is_table_q   <= job.cmd.opcode == npu_pkg::OpLoadTable;
      sparse_q     <= job.cmd.opcode == npu_pkg::OpLoadWeights && job.cmd.flags[npu_pkg::TransferFlagSparse];
      control_q    <= job.cmd.opcode == npu_pkg::OpLoadWeights && job.cmd.flags[npu_pkg::TransferFlagSparse];
      pairs_q      <= pairs;
      complete_q   <= !pairs;
      odd_q        <= 1'b0;
      place_q      <= '0;
      entry_q      <= job.cmd.base;
      left_q       <= job.cmd.opcode == npu_pkg::OpLoadTable ? 16'd32 : job.cmd.words;
    end else if (accept) begin
      odd_q      <= two && !odd_q;
      complete_q <= !pairs_q || control || (two && !odd_q);
      control_q  <= control;
      if (word) begin
        left_q  <= left_q - 1'b1;
        entry_q <= entry_q + 1'b1;
        if (is_weights_q && 32'(entry_q) == npu_pkg::WeightWords - 1) entry_q <= '0;
        if (is_params_q && 32'(entry_q) == npu_pkg::ParamEntries - 1) entry_q <= '0;
        place_q <= place_q + 1'b1;
      end
    end
    if (!complete_q) low_q <= data;
    // Over and over until they come.
    if (control_q) controls_q <= data;
  end

  assign ld_valid = map_valid;
  assign ld_be    = '1;

  assign lw_valid  = word && is_weights_q;
  assign lw_addr   = entry_q[npu_pkg::WeightAddrBits-1:0];
  assign lw_data   = {sparse_q ? controls_q[8*place_q +: 8] : 8'd0,
    (8 * npu_pkg::Rows)'(npu_pkg::Rows == 16 ? {data, low_q} : 128'(data))};
  assign lp_valid  = word && is_params_q;
  assign lp_addr   = entry_q[npu_pkg::ParamAddrBits-1:0];
  assign lp_data   = {data, low_q};
  assign lt_valid  = word && is_table_q;
  assign lt_select = job.cmd.flags[npu_pkg::TransferFlagTableSelect];
  assign lt_addr   = 5'd0 - left_q[4:0];
  assign lt_data   = data;

  assign idle = !cmd_valid && !requesting && !job_valid;
endmodule
