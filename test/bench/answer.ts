/** What our merchant answers, sold or free: about a kilobyte of JSON. */
export const answer = {
  quotes: Array.from(
    { length: 16 },
    (_, at) => ({ symbol: `SYM${at}`, bid: 100 + at, ask: 101 + at, venue: "loopback" })
  )
}
