# -*- coding: utf-8 -*-
"""The part of run.sh that runs inside the virtualenv, so this is Python 2.7.

    suite.py run URL DIRECTORY CASES                       runs the cases; writes a line of JSON for each into results
    suite.py serve DIRECTORY CASES                         runs them against a client; prints its address
    suite.py judge DIRECTORY CASES WHAT [RESULTS.md COMMAND]    counts them, and writes the table

CASES is `all`, or `few` for those of the protocol: neither limits nor compression.
"""
from __future__ import print_function, unicode_literals

import datetime
import io
import json
import os
import socket
import sys

# Title and number of the cases of each group in the suite. It has no group 8; 11 does not test the protocol.
GROUPS = [
    ('1', 'Framing', 16),
    ('2', 'Pings and pongs', 11),
    ('3', 'Reserved bits', 7),
    ('4', 'Opcodes', 10),
    ('5', 'Fragmentation', 20),
    ('6', 'UTF-8', 145),
    ('7', 'Closing', 37),
    ('9', 'Limits and performance', 54),
    ('10', 'Miscellaneous', 1),
    ('12', 'Compression: content', 90),
    ('13', 'Compression: parameters', 126),
]
# Known reasons for cases that are not simply ok.
KNOWN = {
    '6.4.3': 'Text that is invalid in the middle of a frame is refused at the end of the frame, not before '
             '(tungstenite looks at whole frames)',
    '6.4.4': 'As 6.4.3',
    '7.1.6': 'No rule to judge by: 256 KiB of text, a text, a Close and a Ping in one go; both texts came back',
    '7.13.1': 'RFC 6455 says nothing of close code 5000',
    '7.13.2': 'RFC 6455 says nothing of close code 65535',
}
KINDS = ['ok', 'non-strict', 'informational', 'failed']


def groups(cases):
    """GROUPS to run."""
    return [(group, title, total) for group, title, total in GROUPS if is_run(group, cases)]


def is_run(group, cases):
    return cases != 'few' or group not in ('9', '12', '13')


def patterns(cases):
    """The case patterns to request from the suite."""
    return [group + '.*' for group, _, _ in GROUPS if is_run(group, cases)]


def run(url, directory, cases):
    suite('fuzzingclient', {'servers': [{'agent': 'threadcast', 'url': url}]}, directory, cases)


def serve(directory, cases):
    # The suite does not say which port it got, so it gets one that was free a moment ago.
    free = socket.socket()
    free.bind(('127.0.0.1', 0))
    url = 'ws://127.0.0.1:%d' % free.getsockname()[1]
    free.close()
    suite('fuzzingserver', {'url': url}, directory, cases, 'listening at ' + url)


def suite(mode, whom, directory, cases, ready=None):
    from autobahntestsuite import wstest  # first, since it chooses Twisted's reactor
    from twisted.internet import reactor

    report = os.path.join(directory, 'report')
    results = os.path.join(directory, 'results')
    spec = os.path.join(directory, 'spec')
    for old in (results, os.path.join(report, 'index.html')):
        if os.path.exists(old):
            os.remove(old)
    with open(spec, 'wb') as file:
        json.dump(dict(whom, **{
            'outdir': report,
            'cases': patterns(cases),
            'exclude-cases': [],
            'exclude-agent-cases': {},
        }), file)

    # The suite writes its report when it is through. A run that is cut short should leave what it had.
    factory = wstest.fuzzing.FuzzingFactory
    log_case = factory.logCase

    def log_and_keep(self, result):
        log_case(self, result)
        with open(results, 'ab') as file:
            print(json.dumps(dict((name, result[name]) for name in
                                  ('id', 'behavior', 'behaviorClose', 'remoteCloseCode', 'result', 'resultClose'))
                             ).encode(), file=file)

    factory.logCase = log_and_keep
    if ready:
        reactor.callWhenRunning(print, ready)
    sys.argv = ['wstest', '--mode', mode, '--spec', spec]
    wstest.run()


def kind(result):
    """One of KINDS. A close is as good as the behaviour before it."""
    behavior, close = result['behavior'], result['behaviorClose']
    if behavior not in ('OK', 'NON-STRICT', 'INFORMATIONAL'):
        return 'failed'
    if close not in ('OK', 'INFORMATIONAL', 'FAILED BY CLIENT'):
        return 'failed'
    # FAILED BY CLIENT: the server left it to the client to end the TCP connection.
    if behavior == 'NON-STRICT' or close == 'FAILED BY CLIENT':
        return 'non-strict'
    return 'informational' if 'INFORMATIONAL' in (behavior, close) else 'ok'


def order(case):
    return [int(number) for number in case.split('.')]


def judge(directory, run, what, table=None, command=None):
    results = {}
    try:
        with io.open(os.path.join(directory, 'results'), encoding='utf-8') as file:
            for line in file:
                result = json.loads(line)
                results[result['id']] = result
    except IOError:
        print('autobahn: no results')
    rows, notes = [], []
    for group, title, cases in groups(run):
        found = dict((case, kind(results[case])) for case in results if case.split('.')[0] == group)
        counts = [list(found.values()).count(each) for each in KINDS]
        missing = cases - len(found)
        rows.append([group, title, cases] + counts)
        if missing:
            rows[-1][-1] += abs(missing)
            print('failed         %s: %d cases of %d have a result' % (title, len(found), cases))
        for case in sorted(found, key=order):
            if found[case] != 'ok':
                result = results[case]
                why = result['result'] if result['behavior'] != 'OK' else result['resultClose']
                notes.append((case, found[case], result['remoteCloseCode'], KNOWN.get(case, why)))
                print('%-14s %-8s %s, close %s: %s' % (
                    found[case], case, result['behavior'], result['behaviorClose'], why))
    total = [sum(column) for column in zip(*rows)[2:]]
    if table:
        with io.open(table, 'w', encoding='utf-8') as file:
            file.write(markdown(rows, total, notes, what, command))
    print('autobahn: %s, %d cases, %d ok, %d non-strict, %d informational, %d failed' % tuple([what] + total))
    return 0 if total[-1] == 0 else 1


def markdown(rows, total, notes, what, command):
    lines = [
        '# Autobahn',
        '',
        'The [Autobahn testsuite](https://github.com/crossbario/autobahn-testsuite) %s against %s,'
        % (pinned('autobahntestsuite'), what),
        'on %s. `tests/autobahn/run.sh %s` wrote this page.' % (datetime.date.today().isoformat(), command),
        '',
        '| | cases | | ' + ' | '.join(KINDS) + ' |',
        '|---|---|---:|' + '---:|' * len(KINDS),
    ]
    for row in rows:
        lines.append('| %s |' % ' | '.join('%s' % cell for cell in row))
    lines.append('| | **all** | %s |' % ' | '.join('**%d**' % count for count in total))
    lines += ['', 'The suite has no group 8, and group 11 does not test the protocol.', '']
    if notes:
        lines += ['| case | | closed with | |', '|---|---|---:|---|']
        lines += ['| %s |' % ' | '.join('%s' % cell for cell in note) for note in notes]
    else:
        lines.append('Every case is `ok`.')
    return '\n'.join(lines) + '\n'


def pinned(package):
    with io.open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'pins.txt'), encoding='utf-8') as file:
        return dict(line.strip().split('==') for line in file if '==' in line)[package]


if __name__ == '__main__':
    commands = {'run': run, 'serve': serve, 'judge': judge}
    sys.exit(commands[sys.argv[1]](*[argument.decode('utf-8') for argument in sys.argv[2:]]))
