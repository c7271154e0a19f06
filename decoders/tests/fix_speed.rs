//! How long one message takes; run by hand: `cargo test --release -p tickscope-decoders --test fix_speed -- --ignored --nocapture`.

mod fix_support;

use std::hint::black_box;
use std::ops::Range;

use fix_support::message;
use tickscope_decoders::{Described, Fresh, Output, Sequenced, orders};
use tickscope_model::{Loss, MarketEvent, OrderEvent, SymbolId, Timestamp};

struct Nothing(u64);

impl Output for Nothing {
    fn wants_fields(&self) -> bool {
        false
    }
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn symbol(&mut self, _name: &[u8]) -> SymbolId {
        SymbolId(0)
    }
    fn sequenced(&mut self, _unit: &Sequenced<'_>) -> Fresh {
        Fresh::All
    }
    fn market(&mut self, _event: &MarketEvent) {}
    fn market_other(&mut self) {}
    fn order(&mut self, span: Range<usize>, event: &OrderEvent<'_>) {
        black_box((span, event));
        self.0 += 1;
    }
    fn described(&mut self, _span: Range<usize>, _message: Described) {}
    fn loss(&mut self, loss: Loss) {
        panic!("{loss:?}")
    }
    fn loss_many(&mut self, loss: Loss, _count: u64) {
        panic!("{loss:?}")
    }
}

#[test]
#[ignore = "measures; run it in release and by itself"]
#[allow(clippy::disallowed_methods, reason = "it measures time")]
fn speed() {
    let header = "49=CLIENT01|56=EXCHANGE|34=123456|52=20261122-03:35:23.913969123|";
    let rows = [
        (
            "NewOrderSingle",
            format!(
                "35=D|{header}11=ORDER-20261122-000123456|1=ACCOUNT1|21=1|55=MSFT|54=1|60=20261122-03:35:23.913969123|38=100|40=2|44=432.15|59=0|47=A|58=x|"
            ),
        ),
        (
            "ExecutionReport",
            format!(
                "35=8|{header}37=O123456789|11=ORD-123456|17=E987654321|150=F|39=1|55=MSFT|54=1|38=300|44=432.15|32=100|31=432.15|151=200|14=100|6=432.15|60=20261122-03:35:23.913969|"
            ),
        ),
        ("Heartbeat", format!("35=0|{header}")),
    ];
    for (name, body) in rows {
        let one = message("FIX.4.4", &body);
        let (many, fields) = (one.repeat(6), one.iter().filter(|&&byte| byte == 1).count());
        let mut decoder = (orders::fix::PROTOCOL.open)();
        let mut best = f64::MAX;
        for _ in 0..3_000 {
            let mut out = Nothing(0);
            let start = std::time::Instant::now();
            for _ in 0..100 {
                black_box(decoder.decode(black_box(&many), &mut out));
            }
            #[allow(clippy::cast_precision_loss, reason = "for print")]
            let each = start.elapsed().as_nanos() as f64 / out.0 as f64;
            best = best.min(each);
        }
        let mut yardstick = f64::MAX;
        for _ in 0..3_000 {
            let start = std::time::Instant::now();
            for _ in 0..600 {
                black_box(memchr::memchr_iter(1, black_box(&one)).map(|at| at as u64).sum::<u64>());
            }
            #[allow(clippy::cast_precision_loss, reason = "for print")]
            let each = start.elapsed().as_nanos() as f64 / 600.0;
            yardstick = yardstick.min(each);
        }
        eprintln!("memchr alone, to find its fields: {yardstick:.0} ns");
        eprintln!("{name}: {} bytes, {fields} fields: {best:.0} ns", one.len());
    }
}
