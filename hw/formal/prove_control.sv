// npu_control: frame states, first fault, soft reset, and that the watchdog fires.
module prove_control (
  input logic        clk_i,
  input logic        rst_ni,
  input logic        start_i,
  input logic        reset_i,
  input logic        forget_i,
  input logic [31:0] watchdog_i,
  input logic        finish_i,
  input logic        bus_idle_i,
  input logic        progress_i,
  input logic        read_error_i,
  input logic        read_error_command_i,
  input logic [31:0] read_error_address_i,
  input logic        write_error_i,
  input logic [31:0] write_error_address_i,
  input logic        load_illegal_i,
  input logic        load_outside_i,
  input logic [15:0] load_index_i,
  input logic        store_illegal_i,
  input logic        store_outside_i,
  input logic [15:0] store_index_i,
  input logic        exec_illegal_i,
  input logic [15:0] exec_index_i,
  input logic        stream_illegal_i,
  input logic [26:0] stream_unit_i,
  input logic [15:0] exec_finished_i
);
  logic frame_start, running, done, fault, resetting, raise_done, raise_fault, stop, clear;
  logic [3:0] fault_code;
  logic [31:0] fault_info;

  npu_control u_control (
    .clk_i,
    .rst_ni,
    .start_i,
    .reset_i,
    .forget_i,
    .watchdog_i,
    .finish_i,
    .bus_idle_i,
    .progress_i,
    .read_error_i,
    .read_error_command_i,
    .read_error_address_i,
    .write_error_i,
    .write_error_address_i,
    .load_illegal_i,
    .load_outside_i,
    .load_index_i,
    .store_illegal_i,
    .store_outside_i,
    .store_index_i,
    .exec_illegal_i,
    .exec_index_i,
    .stream_illegal_i,
    .stream_unit_i,
    .exec_finished_i,
    .frame_start_o(frame_start),
    .running_o    (running),
    .done_o       (done),
    .fault_o      (fault),
    .resetting_o  (resetting),
    .fault_code_o (fault_code),
    .fault_info_o (fault_info),
    .raise_done_o (raise_done),
    .raise_fault_o(raise_fault),
    .stop_o       (stop),
    .clear_o      (clear)
  );

  logic begun_q = 1'b0;
  logic reported;
  assign reported = read_error_i || write_error_i || load_illegal_i || load_outside_i ||
      store_illegal_i || store_outside_i || exec_illegal_i || stream_illegal_i;

  // The previous cycle; cycles without progress.
  logic
      rst_q, running_q, done_q, fault_q, clear_q, reset_q, forget_q, reported_q, finish_q, start_q;
  logic idle_q, stop_q, resetting_q;
  logic raise_q, raise_done_q;
  logic [3:0] code_q;
  logic [31:0] info_q, watchdog_q, quiet_q, quiet_before_q;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    rst_q <= !rst_ni;
    running_q <= running;
    done_q <= done;
    fault_q <= fault;
    clear_q <= clear;
    reset_q <= reset_i;
    forget_q <= reset_i && forget_i;
    resetting_q <= resetting;
    start_q <= start_i;
    stop_q <= stop;
    idle_q <= bus_idle_i;
    reported_q <= reported;
    finish_q <= finish_i;
    raise_q <= raise_fault;
    raise_done_q <= raise_done;
    code_q <= fault_code;
    info_q <= fault_info;
    watchdog_q <= watchdog_i;
    quiet_before_q <= quiet_q;
    quiet_q <= running && !progress_i ? quiet_q + 1'b1 : '0;
    if (!rst_ni) quiet_q <= '0;
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    // Software sets the watchdog before the frame.
    if (begun_q && running) assume (watchdog_i == watchdog_q);

    if (begun_q) begin
      // Exactly one state at a time; the bus is stopped exactly after a fault and during a reset.
      assert ($countones({running, done, fault, resetting}) <= 1);
      assert (stop == (fault || resetting) && (!clear || resetting));
      assert (frame_start == (start_i && !running && !fault && !resetting));
      assert (raise_fault ==
              (running && (reported || (watchdog_i != '0 && quiet_q >= watchdog_i))));
      assert (raise_done == (running && finish_i && !raise_fault));
      // A frame runs no longer without progress than the watchdog allows; it fires no earlier.
      if (running && watchdog_i != '0) assert (quiet_q <= watchdog_i);
      if (running)
        assert (u_control.quiet_cycles_q == quiet_q || (watchdog_i != '0 && quiet_q > watchdog_i));
    end
    if (begun_q && !rst_q) begin
      if (running_q && !reset_q) begin
        if (raise_q)
          assert (fault);
          else if (finish_q)
            assert (done);
            else assert (running);
        if (fault && fault_code == npu_pkg::FaultWatchdog)
          assert (!reported_q && watchdog_q != '0 && quiet_before_q >= watchdog_q);
      end
      // The first fault stays, with its information, until software resets.
      if (fault && fault_q) assert (fault_code == code_q && fault_info == info_q);
      if (fault_q && !reset_q) assert (fault);
      if (done_q && !reset_q && !start_q) assert (done);
      if (fault) assert (fault_code != npu_pkg::FaultNone && fault_code <= npu_pkg::FaultWatchdog);
      if (!fault && !resetting) assert (fault_code == npu_pkg::FaultNone);
      // A reset works from every state. The core is cleared as soon as the bus is idle and nothing
      // is offered, no earlier unless bursts in flight are discarded, and then the reset is over.
      if (reset_q) assert (resetting || clear_q);
      if (clear) assert (forget_q || (resetting_q && !clear_q && stop_q && idle_q));
      if (forget_q || (resetting_q && !clear_q && idle_q)) assert (clear);
      if (resetting_q && !clear_q) assert (resetting);
      if (clear_q && !forget_q) assert (!resetting && !running && !done && !fault);
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (fault && fault_code == npu_pkg::FaultWatchdog && quiet_before_q == 32'd3);
      cover (clear && !idle_q && forget_q);
      cover (clear && !forget_q && resetting_q);
      cover (done && frame_start);
    end
  end
endmodule
