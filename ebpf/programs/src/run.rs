//! What all TC programs do with a packet: read it, decide, act, and answer it where that is the end.

/// Runs the functions of one family, one after the other: see [`crate::act`]. `$decide` is what the hook
/// makes of the packet that `$step` points to, as the word of a verdict.
macro_rules! run {
    ($context:expr, $hook:expr, $family:ty, $act:ident, $answer:ident, $step:ident => $decide:expr) => {{
        let mut place = core::mem::MaybeUninit::<skep_engine::Step<$family>>::uninit();
        let step = $crate::zero::zeroed(&mut place);
        let hook = $hook as u32;
        if !skep_engine::read(&$crate::skb::Skb::new($context), &$crate::tables::KernelTables, step)
        {
            let verdict = skep_engine::Verdict::of_malformed($hook).to_bits();
            return $crate::act::$act($context, verdict, hook, core::ptr::null());
        }
        let $step = &raw mut *step;
        let verdict = $decide;
        let action = $crate::act::$act($context, verdict, hook, $step);
        if action < $crate::act::ANSWER {
            return action;
        }
        $crate::act::$answer($context, $step, (action - $crate::act::ANSWER) as u32, hook)
    }};
}
pub(crate) use run;

/// A function's context. Traced programs count no packets, so that some have no use for it: the compiler
/// would leave the argument out where they are called, and the verifier asks for each.
#[inline(always)]
pub fn argument<T>(context: *mut T) -> *mut T {
    if cfg!(feature = "trace") { core::hint::black_box(context) } else { context }
}
