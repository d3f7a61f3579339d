//! A cheap check before anything of a request is read: so many a second for a tenant and for an address.
//!
//! It protects this process from floods, and is no limit that anybody was promised: it counts in this
//! process alone, by the generic cell rate algorithm (the crate `governor`).

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde::Deserialize;

use crate::ask::Tenant;
use crate::refusal::retry_after;
use crate::{Reason, Refusal};

/// The `[rate_limit.guard]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Requests a second of one tenant, on average; 0 is no check.
    pub tenant_per_second: u32,
    /// Requests a second from one address, on average; 0 is no check.
    pub address_per_second: u32,
    /// How many may come at once; 0 means a second's worth.
    pub burst: u32,
}

pub struct Guard {
    tenants: Option<DefaultKeyedRateLimiter<[u8; 32]>>,
    addresses: Option<DefaultKeyedRateLimiter<IpAddr>>,
    clock: DefaultClock,
    config: Config,
}

/// Beyond so many known senders, those that have been quiet are forgotten at once and not in their time.
const CROWD: usize = 100_000;

impl Guard {
    pub fn new(config: &Config) -> Self {
        let quota = |per_second: u32| {
            let per_second = NonZeroU32::new(per_second)?;
            let burst = NonZeroU32::new(config.burst).unwrap_or(per_second);
            Some(Quota::per_second(per_second).allow_burst(burst))
        };
        Guard {
            tenants: quota(config.tenant_per_second).map(RateLimiter::dashmap),
            addresses: quota(config.address_per_second).map(RateLimiter::dashmap),
            clock: DefaultClock::default(),
            config: config.clone(),
        }
    }

    /// Whether it was made by these settings.
    pub fn is_by(&self, config: &Config) -> bool {
        self.config == *config
    }

    /// # Errors
    /// A refusal that says when to come again.
    pub fn check(&self, tenant: &Tenant, address: Option<IpAddr>) -> Result<(), Refusal> {
        let wait = |until: governor::NotUntil<_>| until.wait_time_from(self.clock.now());
        if let (Some(addresses), Some(address)) = (&self.addresses, address) {
            if addresses.len() > CROWD {
                addresses.retain_recent();
            }
            addresses.check_key(&network(address)).map_err(|until| flood("this address", wait(until)))?;
        }
        if let Some(tenants) = &self.tenants {
            if tenants.len() > CROWD {
                tenants.retain_recent();
            }
            tenants.check_key(tenant.digest()).map_err(|until| flood("this tenant", wait(until)))?;
        }
        Ok(())
    }

    /// Forgets who has been quiet for long enough to have his whole burst again.
    pub fn sweep(&self) {
        if let Some(tenants) = &self.tenants {
            tenants.retain_recent();
            tenants.shrink_to_fit();
        }
        if let Some(addresses) = &self.addresses {
            addresses.retain_recent();
            addresses.shrink_to_fit();
        }
    }
}

/// An IPv6 client has a whole /64 to send from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::from((u128::from(six) >> 64 << 64).to_be_bytes()),
        four => four,
    }
}

fn flood(whose: &'static str, wait: Duration) -> Refusal {
    let mut refusal = Refusal::from(Reason::Flood(whose));
    retry_after(refusal.headers_mut(), wait);
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_refused_with_the_time_to_come_again_and_others_are_not() {
        let guard = Guard::new(&Config { tenant_per_second: 1, address_per_second: 0, burst: 3 });
        let (flooder, other) = (Tenant::of(b"1"), Tenant::of(b"2"));
        assert_eq!((0..5).filter(|_| guard.check(&flooder, None).is_ok()).count(), 3, "its burst and no more");
        let refusal = guard.check(&flooder, None).unwrap_err();
        assert_eq!(refusal.reason.status(), 429);
        let retry: u64 = refusal.headers.unwrap()["retry-after"].to_str().unwrap().parse().unwrap();
        assert_eq!(retry, 1);
        assert!(guard.check(&other, None).is_ok());
    }

    #[test]
    fn addresses_of_one_network_are_one_sender() {
        let guard = Guard::new(&Config { tenant_per_second: 0, address_per_second: 1, burst: 1 });
        let check = |address: &str| guard.check(&Tenant::anonymous(), Some(address.parse().unwrap())).is_ok();
        assert!(check("2001:db8::1"));
        assert!(!check("2001:db8::2"), "a client may choose any address of its /64");
        assert!(check("2001:db8:0:1::1"));
        assert!(check("192.0.2.1") && check("192.0.2.2"));
        assert!(!check("::ffff:192.0.2.1"), "the same address in another spelling");
    }
}
