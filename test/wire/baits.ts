/**
 * Texts of any length that are bait for readers: for those that go back, look ahead, or build up.
 */
import type { Hex } from "viem"
import { fromRlp, toRlp } from "viem/utils"
import * as Messages from "./mutations.ts"

export const bytesOf = (text: string) => new TextEncoder().encode(text).length

/** As often as it fits, in characters or in bytes. */
export const filled = (
  setting: (bait: string) => string,
  bait: string,
  size: number,
  measure: (text: string) => number
) => setting(bait.repeat((size - measure(setting(""))) / measure(bait)))

/** Bait for readers that go back, look ahead, or build up. */
export const baits = [
  "\"",
  "\\",
  "\\\"",
  "\"\\",
  "a=\"",
  "\"\"",
  "\\u00",
  "\\u0041",
  ",",
  ", ",
  " ",
  "\t",
  "=",
  "a",
  "a ",
  "a=",
  "a=b ",
  "a=b,",
  "A",
  "0",
  "-",
  ":",
  ";",
  ";q=0,",
  "*/*,",
  "Payment ",
  "Payment,",
  "Payment Payment",
  ", Payment id=\"",
  "Payment id=1,",
  "Bearer a,",
  "realm=\"\\\\\",",
  "[",
  "{\"a\":",
  "[]",
  "{},",
  "[[],",
  "\"a\":1,",
  "\u202e",
  "\ud83d\ude00",
  "\ud83d",
  "\u2028",
  "\u0000"
]

/** Where the bait lies: alone, within quotes, in a value, in a list of JSON, and cut off. */
export const settings: ReadonlyArray<(bait: string) => string> = [
  (bait) => bait,
  (bait) => `Payment ${bait}`,
  (bait) => `Payment id="${bait}`,
  (bait) => `Payment id="1", realm="${bait}", method=tempo, intent=charge, request=e30`,
  (bait) => `{"type":"${bait}"}`,
  (bait) => `{"accepts":[${bait}`,
  (bait) => `{"x402Version":1,"accepts":[${bait}{}]}`
]

type Item = Hex | ReadonlyArray<Item>
const empty: Hex = "0x"
const token: Hex = "0x20c0000000000000000000000000000000000000"
const members: Item = fromRlp(`0x${Messages.transaction.slice(4)}`, "hex")

const withMember = (at: number, member: Item): string =>
  `0x76${toRlp(typeof members === "string" ? [] : members.with(at, member)).slice(2)}`

/** Transactions that are odd in one place, of about so many bytes. */
export const transactions = (size: number): ReadonlyArray<readonly [what: string, signed: string]> => {
  const most = <A>(item: A, bytes: number): ReadonlyArray<A> => Array.from({ length: size / bytes }, () => item)
  const capped = Math.min(size, 1023)
  return [
    ["lists within lists", `0x76${"c1".repeat(size)}`],
    ["long lists within lists", `0x76${"f93fff".repeat(size / 3)}`],
    ["strings without end", `0x76${"b9ffff".repeat(size / 3)}`],
    ["empty members", `0x76${toRlp(most(empty, 1)).slice(2)}`],
    ["calls", withMember(4, most([token, empty, empty], 24))],
    ["empty calls", withMember(4, most([empty, empty, empty], 4))],
    ["an access list", withMember(5, most([token, empty], 23))],
    ["an authorization list", withMember(12, most([empty, empty], 3))],
    ["a fee payer's signature", withMember(11, most(empty, 1))],
    ["a signature", withMember(13, `0x${"02".repeat(size)}`)],
    ["a signature of a passkey", withMember(13, `0x02${"7b".repeat(size)}`)],
    ["the longest signature of a passkey", withMember(13, `0x02${"7b".repeat(capped)}`)],
    ["the longest signature of a keychain", withMember(13, `0x03${"03".repeat(capped)}`)],
    ["authorizations", withMember(12, most([most(empty, 3000), `0x02${"7b".repeat(1000)}`], 1100))],
    ["calldata", withMember(4, [[token, empty, `0x${"00".repeat(size)}`]])]
  ]
}
