# SPDX-License-Identifier: GPL-2.0-or-later
# LIM-6 and LIM-7: expansions and redirections that go on for ever, or nearly, have an end, and other mail does not notice.
use strict;
use warnings;
use Time::HiRes qw(time);

sub timed { my ($code) = @_; my $began = time; my $got = $code->(); return ($got, time - $began) }

part('expansions without measure' => sub {
    my ($lab) = @_;
    $lab->write_configuration;
    my @rows = (
        ['a regular expression that backtracks for ever', '${if match{' . 'a' x 60 . '!}{^(a+)+\$}{yes}{no}}', qr/^> (no|Failed: .*)\n/],
        ['a list of 150,000 items', '${listcount:' . join(':', map { "x$_" } 1 .. 150_000) . '}', qr/^> 150000\n/],
        ['operators 10,000 deep', '${uc:' x 10_000 . 'x' . '}' x 10_000, qr/^> Failed: expansion nested too deeply/],
        ['10,000 times not', '${if ' . '!' x 10_000 . 'eq{a}{a}{y}{n}}', qr/^> (y|Failed: .*)\n/],
        ['brackets that never close', '${if{' x 10_000, qr/^> Failed: /],
    );
    for my $row (@rows) {
        my ($got, $sec) = timed(sub { $lab->exim("$row->[1]\n", '-be') });
        check("$row->[0]: an answer", $got =~ $row->[2], substr $got, 0, 200);
        check("$row->[0]: in time", $sec < 5, sprintf '%.1f s', $sec);
        is("$row->[0]: no crash", $lab->{status} & 127, 0);
    }
});

part('messages in messages' => sub {
    my ($lab) = @_;
    $lab->write_configuration(main => "queue_only\nacl_smtp_mime = mime\n",
        acl => "  accept\nmime:\n  warn decode = default\n       logwrite = a part of \$mime_content_size\n");
    my $mail = "EHLO c.test\r\nMAIL FROM:<a\@b.test>\r\nRCPT TO:<box\@local.test>\r\nDATA\r\n" . "Content-Type: message/rfc822\r\n\r\n" x 50
      . "1234567\r\n" x 500_000 . ".\r\nQUIT\r\n";
    my ($got, $sec) = timed(sub { $lab->exim($mail, '-bs') });
    check('taken', $got =~ /^250 OK id=/m, substr $got, -200);
    is('as deep as the limit says', scalar(() = $lab->log('main') =~ /a part of 3\d\d\d\n/g), 21);
    check('in time', $sec < 20, sprintf '%.1f s', $sec);
});

part('redirections without end' => sub {
    my ($lab) = @_;
    my $aliases = "$lab->{dir}/aliases";
    my $fan = $lab->{long} ? 100_000 : 20_000;
    DaemonLab::spew($aliases, "a: b\nb: a\nself: self\ninc: :include:$lab->{dir}/inc\n" . 'fan: ' . join(', ', map { "box$_" } 1 .. $fan) . "\n");
    DaemonLab::spew("$lab->{dir}/inc", ":include:$lab->{dir}/inc\nbox\n");
    chmod 0644, $aliases, "$lab->{dir}/inc";
    $lab->start(routers => <<"ROUTER", transports => "sink:\n  driver = appendfile\n  file = /dev/null\n  user = games\n  batch_max = 1000000\n");
aliases:
  driver = redirect
  domains = local.test
  data = \${lookup{\$local_part}lsearch{$aliases}}
many:
  driver = accept
  local_parts = ^box[0-9]
  transport = sink
ROUTER
    $lab->send_message('a@b.test', $_ . '@local.test') for qw(a inc box);
    check('other mail arrives', $lab->log_has(qr/=> box <box\@local\.test> .*T=box/));
    check('a loop of two ends at the router behind', $lab->log_has(qr/=> a <a\@local\.test> .*R=box/));
    check('a file that includes itself waits for its owner', $lab->log_has(qr/== inc\@local\.test .*nested too deeply/));
    my (undef, $sec) = timed(sub { $lab->send_message('a@b.test', 'fan@local.test'); $lab->wait_for(sub { $lab->log('main') =~ /-> box$fan / }, 60) });
    is("$fan recipients of one address", scalar(() = $lab->log('main') =~ /[-=]> box\d+ /g), $fan);
    check('in time', $sec < ($lab->{long} ? 60 : 20), sprintf '%.1f s', $sec);
});
1;
