import { defineConfig } from "vitest/config"

/** Tests that start processes: chains, databases, servers of other people. */
const slow = [
  "test/**/*.chain.test.ts",
  "test/interop/**/*.test.ts",
  "test/testing/chain/**/*.test.ts",
  "test/merchant/Facilitator.test.ts",
  "test/merchant/Paywall.test.ts",
  "test/cli/Demo.test.ts",
  "test/**/*.postgres.test.ts",
  "test/sql/postgres.test.ts"
]

/** Payers that are killed by the hundred. */
const crash = ["test/crash/**/*.test.ts"]

export default defineConfig({
  test: {
    maxWorkers: 2,
    // The documentation's examples are run from there.
    server: { deps: { inline: [/\/node_modules\/\.cache\/examples-/] } },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: [...slow, ...crash],
          testTimeout: 20_000
        }
      },
      {
        extends: true,
        test: {
          name: "chain",
          include: slow,
          exclude: crash,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 1 }
        }
      },
      {
        extends: true,
        test: {
          name: "crash",
          include: crash,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // They take all of the machine, and others tell the time.
          sequence: { groupOrder: 2 }
        }
      }
    ]
  }
})
