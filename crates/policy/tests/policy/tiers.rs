//! Service tiers.

use super::*;

#[tokio::test]
async fn the_key_decides_on_the_tier_then_the_request_then_the_default() {
    let f = fixture(Config { tier: ServiceTier::Reserved, ..config() });
    let (deciding, _) = f.key(|record| record.service_tier = Some(store::ServiceTier::Default)).await;
    let (silent, _) = f.key(|_| {}).await;
    let (flex, reserved) = (ServiceTier::Flex, ServiceTier::Reserved);
    for (key, asked, expected) in [
        (&deciding, Some(flex), ServiceTier::Default),
        (&deciding, None, ServiceTier::Default),
        (&silent, Some(flex), flex),
        (&silent, None, reserved),
    ] {
        let caller = f.policy.authenticate(std::slice::from_ref(key), HERE, f.at(0)).await.unwrap();
        let admission =
            admitted(&f, &caller, Ask { tier: asked, ..ask("claude-sonnet-4-6") }, f.at(0)).unwrap();
        assert_eq!(admission.tier(), expected);
    }
}

#[tokio::test]
async fn the_tier_that_served_is_priced_and_both_tiers_are_booked() {
    let f = fixture(config());
    let (key, _) = f.key(|record| record.service_tier = Some(store::ServiceTier::Priority)).await;
    let caller = f.policy.authenticate(&[key], HERE, f.at(0)).await.unwrap();
    for served in [ServiceTier::Priority, ServiceTier::Flex, ServiceTier::Default] {
        let mut admission = admitted(&f, &caller, ask("claude-sonnet-4-6"), f.at(0)).unwrap();
        admission.called();
        admission.sent(ServiceTier::Priority, Some(store::CacheTtl::OneHour));
        admission.served(served);
        admission.used(Tokens { input: 1000, ..Tokens::default() });
        admission.settle(done(), f.at(1).mono);
    }
    let rows = f.rows();
    let costs: Vec<_> = rows.iter().map(|row| row.cost_pico_usd.unwrap().0).collect();
    assert_eq!(costs, [5_250_000_000, 1_500_000_000, 3_000_000_000]);
    assert!(rows.iter().all(|row| row.tier_requested == store::ServiceTier::Priority));
    assert_eq!(rows[1].tier_served, store::ServiceTier::Flex);
    assert!(rows.iter().all(|row| row.cache_ttl == Some(store::CacheTtl::OneHour)));
}
